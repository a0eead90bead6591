package sample.core;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;

/** Writes a report into the directory that it is given, or throws. */
public final class Checks {
    public static void main(String[] arguments) throws IOException {
        Tally tally = new Tally();
        tally.add("One fish, two fish; red fish.");
        expect(tally.of("fish") == 3, "three fish");
        expect(tally.of("whale") == 0, "no whale");
        expect(Words.of("").isEmpty(), "no words in nothing");
        Files.write(Paths.get(arguments[0], "report.txt"), Arrays.asList("3 checks"), StandardCharsets.UTF_8);
    }

    private static void expect(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
