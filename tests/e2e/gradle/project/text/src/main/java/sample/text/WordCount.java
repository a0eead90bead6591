package sample.text;

import java.util.Comparator;
import java.util.List;
import java.util.Set;
import sample.core.Top;
import sample.core.Trie;

/** Counts the words that mean something. */
public final class WordCount {
    /** A word and how often it came. */
    public static final class Entry {
        public final String word;
        public final long count;

        Entry(String word, long count) {
            this.word = word;
            this.count = count;
        }

        @Override
        public String toString() {
            return word + "=" + count;
        }
    }

    private static final Comparator<Entry> BY_COUNT =
        Comparator.<Entry>comparingLong(e -> e.count).thenComparing(e -> e.word, Comparator.reverseOrder());

    private final Trie words = new Trie();
    private final Set<String> ignored;

    public WordCount(Set<String> ignored) {
        this.ignored = ignored;
    }

    public WordCount add(String text) {
        for (String word : new Tokenizer(text)) {
            if (!ignored.contains(word)) {
                words.add(word, 1);
            }
        }
        return this;
    }

    public Trie words() {
        return words;
    }

    public List<Entry> top(int limit) {
        Top<Entry> top = new Top<>(limit, BY_COUNT);
        words.forEach((word, count) -> top.offer(new Entry(word, count)));
        return top.get();
    }
}
