package sample.core;

import static org.junit.Assert.assertEquals;

import java.util.Arrays;
import java.util.Collections;
import org.junit.Test;

public class TrieTest {
    @Test
    public void addsUp() {
        Trie trie = new Trie();
        trie.add("tea", 1);
        trie.add("tea", 2);
        trie.add("ten", 5);
        assertEquals(3, trie.count("tea"));
        assertEquals(0, trie.count("te"));
        assertEquals(2, trie.size());
    }

    @Test
    public void findsByPrefixInOrder() {
        Trie trie = new Trie();
        for (String word : Arrays.asList("ten", "tea", "inn", "team")) {
            trie.add(word, 1);
        }
        assertEquals(Arrays.asList("tea", "team", "ten"), trie.startingWith("te"));
        assertEquals(Collections.emptyList(), trie.startingWith("x"));
    }

    @Test(expected = IllegalArgumentException.class)
    public void refusesTheEmptyWord() {
        new Trie().add("", 1);
    }
}
