package sample.app;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;

/** The table that the build made: a chain of SHA-256 sums, each of the one before. */
public final class Digests {
    private static final int LENGTH = 32;
    private final byte[] table;

    private Digests(byte[] table) {
        this.table = table;
    }

    public static Digests load() throws IOException {
        try (InputStream in = Digests.class.getResourceAsStream("digests.bin")) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] buffer = new byte[64 * 1024];
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                out.write(buffer, 0, n);
            }
            return new Digests(out.toByteArray());
        }
    }

    public int size() {
        return table.length / LENGTH;
    }

    public byte[] get(int link) {
        return Arrays.copyOfRange(table, link * LENGTH, (link + 1) * LENGTH);
    }
}
