package sample.core;

import static org.junit.Assert.assertEquals;

import java.util.Arrays;
import java.util.Comparator;
import org.junit.Test;

public class TopTest {
    @Test
    public void keepsTheGreatest() {
        Top<Integer> top = new Top<>(3, Comparator.naturalOrder());
        for (int i : new int[] {4, 9, 1, 7, 7, 2}) {
            top.offer(i);
        }
        assertEquals(Arrays.asList(9, 7, 7), top.get());
    }
}
