package sample.core;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;

/** A set of words with a number each, kept by prefix and walked in order. */
public final class Trie {
    private static final class Node {
        final Map<Character, Node> next = new TreeMap<>();
        long count;
    }

    private final Node root = new Node();
    private int size;

    public void add(String word, long count) {
        if (word.isEmpty() || count <= 0) {
            throw new IllegalArgumentException("a word and a positive number, not '" + word + "' and " + count);
        }
        Node node = root;
        for (char c : word.toCharArray()) {
            node = node.next.computeIfAbsent(c, unused -> new Node());
        }
        if (node.count == 0) {
            size++;
        }
        node.count += count;
    }

    public long count(String word) {
        Node node = find(word);
        return node == null ? 0 : node.count;
    }

    public int size() {
        return size;
    }

    public List<String> startingWith(String prefix) {
        List<String> found = new ArrayList<>();
        Node node = find(prefix);
        if (node != null) {
            walk(node, new StringBuilder(prefix), (word, count) -> found.add(word));
        }
        return found;
    }

    public void forEach(BiConsumer<String, Long> visitor) {
        walk(root, new StringBuilder(), visitor);
    }

    private Node find(String prefix) {
        Node node = root;
        for (int i = 0; node != null && i < prefix.length(); i++) {
            node = node.next.get(prefix.charAt(i));
        }
        return node;
    }

    private static void walk(Node node, StringBuilder path, BiConsumer<String, Long> visitor) {
        if (node.count > 0) {
            visitor.accept(path.toString(), node.count);
        }
        for (Map.Entry<Character, Node> edge : node.next.entrySet()) {
            path.append(edge.getKey());
            walk(edge.getValue(), path, visitor);
            path.setLength(path.length() - 1);
        }
    }
}
