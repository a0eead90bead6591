package sample.text;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.Test;

public class WordCountTest {
    @Test
    public void splitsAtWhatIsNoLetter() {
        List<String> words = new ArrayList<>();
        new Tokenizer("It's a cache -- isn't it? 'Yes.'").forEach(words::add);
        assertEquals(Arrays.asList("it's", "a", "cache", "isn't", "it", "yes"), words);
    }

    @Test
    public void knowsTheStopWords() {
        assertTrue(StopWords.english().contains("the"));
        assertEquals(22, StopWords.english().size());
    }

    @Test
    public void countsTheRest() {
        WordCount count = new WordCount(StopWords.english());
        count.add("The cat and the hat.").add("A cat is a cat; a hat is not.");
        assertEquals("[cat=3, hat=2, not=1]", count.top(3).toString());
    }
}
