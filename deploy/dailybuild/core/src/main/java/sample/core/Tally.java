package sample.core;

import java.util.Map;
import java.util.TreeMap;

/** How often each word was seen. */
public final class Tally {
    private final Map<String, Integer> seen = new TreeMap<>();

    public void add(String text) {
        for (String word : Words.of(text)) {
            seen.merge(word, 1, Integer::sum);
        }
    }

    public int of(String word) {
        return seen.getOrDefault(word, 0);
    }

    public Map<String, Integer> all() {
        return new TreeMap<>(seen);
    }
}
