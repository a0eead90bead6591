package sample.text;

import java.util.Iterator;
import java.util.Locale;
import java.util.NoSuchElementException;

/** The words of a text, in lower case; an apostrophe inside a word belongs to it. */
public final class Tokenizer implements Iterable<String> {
    private final String text;

    public Tokenizer(String text) {
        this.text = text;
    }

    @Override
    public Iterator<String> iterator() {
        return new Iterator<String>() {
            private int at = skip(0);

            @Override
            public boolean hasNext() {
                return at < text.length();
            }

            @Override
            public String next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                int end = at;
                while (end < text.length() && isPart(end)) {
                    end++;
                }
                String word = text.substring(at, end).toLowerCase(Locale.ROOT);
                at = skip(end);
                return word;
            }
        };
    }

    private int skip(int from) {
        int i = from;
        while (i < text.length() && !Character.isLetter(text.charAt(i))) {
            i++;
        }
        return i;
    }

    private boolean isPart(int i) {
        char c = text.charAt(i);
        return Character.isLetter(c)
            || c == '\'' && i + 1 < text.length() && Character.isLetter(text.charAt(i + 1));
    }
}
