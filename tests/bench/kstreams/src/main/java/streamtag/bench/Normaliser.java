package streamtag.bench;

import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.BitSet;
import java.util.stream.IntStream;

/**
 * A text to the bytes that are hashed: cut, normalised, UTF-8.
 *
 * <p>NFKC is that of the JVM: Unicode 13 with Java 17, where Python 3.11 has Unicode 14. The corpus is older than both.
 */
final class Normaliser {
  private final int head;
  private final int tail;
  private final boolean nfkc;
  private final BitSet invisible = new BitSet();
  private final String[] folded = new String[Character.MAX_CODE_POINT + 1];

  Normaliser(Job.Model model) {
    head = model.headChars();
    tail = model.tailChars();
    nfkc = model.nfkc();
    IntStream.of(model.invisible()).forEach(invisible::set);
    model.folded().forEach((codePoint, to) -> folded[codePoint] = to);
  }

  /** Lone surrogates become {@code ?}; case and controls of ASCII are left to the table of bytes. */
  byte[] encode(String text) {
    String cut = cut(text);
    byte[] utf8 = cut.getBytes(StandardCharsets.UTF_8);
    if (utf8.length == cut.length()) {
      return utf8; // ASCII, which nothing below would change
    }
    String composed = withoutInvisible(cut);
    if (nfkc) {
      composed = Normalizer.normalize(composed, Normalizer.Form.NFKC);
    }
    return fold(cut(composed)).getBytes(StandardCharsets.UTF_8);
  }

  private String cut(String text) {
    // Chars first: there are at least as many as code points, and counting those means reading the text.
    if (text.length() <= head + tail || text.codePointCount(0, text.length()) <= head + tail) {
      return text;
    }
    String start = text.substring(0, text.offsetByCodePoints(0, head));
    return tail == 0 ? start : start + " " + text.substring(text.offsetByCodePoints(text.length(), -tail));
  }

  private String withoutInvisible(String text) {
    if (text.codePoints().noneMatch(invisible::get)) {
      return text;
    }
    return text.codePoints()
        .filter(codePoint -> !invisible.get(codePoint))
        .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
        .toString();
  }

  private String fold(String text) {
    StringBuilder out = new StringBuilder(text.length() + 8);
    int codePoint;
    for (int i = 0; i < text.length(); i += Character.charCount(codePoint)) {
      codePoint = text.codePointAt(i);
      String to = folded[codePoint];
      if (to == null) {
        out.appendCodePoint(codePoint);
      } else {
        out.append(to);
      }
    }
    return out.toString();
  }
}
