package sample.app;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import sample.core.Tally;

/** Writes a report into the directory that it is given, or throws. */
public final class Checks {
    public static void main(String[] arguments) throws IOException {
        Tally tally = new Tally();
        tally.add("b a b");
        String json = new Report(tally).json();
        if (!json.equals("{\"a\":1,\"b\":2}")) {
            throw new AssertionError(json);
        }
        Files.write(Paths.get(arguments[0], "report.txt"), Arrays.asList("1 check"), StandardCharsets.UTF_8);
    }
}
