package sample.app;

import java.util.Map;
import java.util.stream.Collectors;
import sample.core.Tally;

/** A tally as JSON, for the web module. */
public final class Report {
    private final Tally tally;

    public Report(Tally tally) {
        this.tally = tally;
    }

    public String json() {
        return tally.all().entrySet().stream().map(Report::pair).collect(Collectors.joining(",", "{", "}"));
    }

    private static String pair(Map.Entry<String, Integer> entry) {
        return "\"" + entry.getKey() + "\":" + entry.getValue();
    }

    public static void main(String[] arguments) {
        Tally tally = new Tally();
        tally.add(String.join(" ", arguments));
        System.out.println(new Report(tally).json());
    }
}
