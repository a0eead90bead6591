package sample.app;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.security.MessageDigest;
import org.junit.Test;

public class MainTest {
    @Test
    public void resourcesWereProcessed() throws Exception {
        assertEquals("app 1.0", Main.title());
    }

    @Test
    public void everyLinkIsTheSumOfTheOneBefore() throws Exception {
        Digests digests = Digests.load();
        assertEquals(98304, digests.size());
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        for (int link = 1; link < digests.size(); link++) {
            assertArrayEquals("link " + link, sha256.digest(digests.get(link - 1)), digests.get(link));
        }
    }
}
