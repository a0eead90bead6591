package sample.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;

/** Keeps the greatest few of many. */
public final class Top<T> {
    private final int limit;
    private final Comparator<? super T> order;
    private final PriorityQueue<T> kept;

    public Top(int limit, Comparator<? super T> order) {
        if (limit < 1) {
            throw new IllegalArgumentException("at least one, not " + limit);
        }
        this.limit = limit;
        this.order = order;
        this.kept = new PriorityQueue<>(order);
    }

    public void offer(T candidate) {
        if (kept.size() < limit) {
            kept.add(candidate);
        } else if (order.compare(candidate, kept.peek()) > 0) {
            kept.poll();
            kept.add(candidate);
        }
    }

    /** The greatest first. */
    public List<T> get() {
        List<T> sorted = new ArrayList<>(kept);
        sorted.sort(Collections.reverseOrder(order));
        return sorted;
    }
}
