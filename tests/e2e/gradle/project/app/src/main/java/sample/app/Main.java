package sample.app;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Properties;
import sample.text.StopWords;
import sample.text.WordCount;

/** Prints the ten words that a file is about. */
public final class Main {
    private Main() {
    }

    public static void main(String[] args) throws IOException {
        if (args.length != 1) {
            System.err.println(title() + ": give it one file");
            System.exit(64);
        }
        String text = new String(Files.readAllBytes(Paths.get(args[0])), StandardCharsets.UTF_8);
        new WordCount(StopWords.english()).add(text).top(10).forEach(System.out::println);
    }

    static String title() throws IOException {
        Properties module = new Properties();
        try (InputStream in = Main.class.getResourceAsStream("module.properties")) {
            module.load(in);
        }
        return module.getProperty("name") + " " + module.getProperty("version");
    }
}
