package streamtag.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;

/** Bytes to weighted ids of byte n-grams, ascending, as the contract {@code hashed-ngrams/1} has it. For one thread. */
final class Featuriser {
  private static final int LONGEST = 5;
  private static final int ROLL = 0x01000193;
  private static final int MIX_1 = 0x9E3779B1;
  private static final int MIX_2 = 0x85EBCA77;
  private static final int MIX_SHIFT = 15;
  private static final int MAX_COUNT = 1_023;
  private static final double TF_SQUARED_UNIT = 1 << 10;
  private static final double IDF_SQUARED_UNIT = 1 << 16;
  private static final int PAD_TO = 8;

  /** Input of the graph: what {@link #featurise} found, padded to a multiple of 8. */
  final IntBuffer ids;

  /** Input of the graph: the weight of each of {@link #ids}, 0 for padding. */
  final FloatBuffer weights;

  private final int hashShift;
  private final int nBuckets;
  private final short[] idOf;
  private final long[] idfSquared;
  private final byte[] byteTable = new byte[256];
  private final float[] logTf = new float[MAX_COUNT + 1];
  private final long[] logTfSquared = new long[MAX_COUNT + 1];

  // Of one text; cleared as it is read. The id nBuckets stands for every n-gram that the model does not know.
  private final int[] counts;
  private final long[] present;
  private byte[] padded = new byte[4_096];

  Featuriser(Job.Model model) {
    hashShift = 32 - model.bits();
    nBuckets = model.buckets().length;
    if (nBuckets > Short.MAX_VALUE) {
      throw new IllegalArgumentException(nBuckets + " buckets; at most " + Short.MAX_VALUE);
    }
    idOf = new short[1 << model.bits()];
    Arrays.fill(idOf, (short) nBuckets);
    for (int id = 0; id < nBuckets; id++) {
      idOf[model.buckets()[id]] = (short) id;
    }
    idfSquared = Arrays.stream(model.idf()).mapToLong(idf -> (long) idf * idf).toArray();
    for (int value = 0; value < byteTable.length; value++) {
      byteTable[value] = (byte) model.bytes()[value];
    }
    for (int count = 1; count <= MAX_COUNT; count++) {
      double tf = 1.0 + Math.log(count);
      logTf[count] = (float) tf;
      logTfSquared[count] = (long) Math.rint(tf * tf * TF_SQUARED_UNIT);
    }
    counts = new int[nBuckets + 1];
    present = new long[nBuckets / Long.SIZE + 1];
    int widest = nBuckets + PAD_TO;
    ids = direct(widest).asIntBuffer();
    weights = direct(widest).asFloatBuffer();
  }

  /** Fills {@link #ids} and {@link #weights}, from 0 to their limit. */
  void featurise(byte[] utf8) {
    count(utf8);
    int entries = drain();
    double squaredNorm = Math.max(squaredNorm(entries), 1L) / (TF_SQUARED_UNIT * IDF_SQUARED_UNIT);
    float inverseNorm = (float) (1.0 / Math.sqrt(squaredNorm));
    for (int i = 0; i < entries; i++) {
      int id = ids.get(i);
      weights.put(i, logTf[Math.min(counts[id], MAX_COUNT)] * inverseNorm);
      counts[id] = 0;
    }
    int width = Math.max(1, (entries + PAD_TO - 1) / PAD_TO) * PAD_TO;
    ids.limit(width);
    weights.limit(width);
    for (int i = entries; i < width; i++) {
      ids.put(i, nBuckets);
      weights.put(i, 0);
    }
  }

  /** Counts the n-grams of 2 to 5 bytes of a text between two spaces. */
  private void count(byte[] utf8) {
    if (utf8.length == 0) {
      return; // not even the n-gram of the two spaces
    }
    int length = utf8.length + 2;
    if (padded.length < length) {
      padded = new byte[length];
    }
    padded[0] = ' ';
    for (int i = 0; i < utf8.length; i++) {
      padded[i + 1] = byteTable[utf8[i] & 0xff];
    }
    padded[length - 1] = ' ';
    for (int start = 0; start < length - 1; start++) {
      int hash = padded[start] & 0xff;
      int end = Math.min(length, start + LONGEST);
      for (int at = start + 1; at < end; at++) {
        hash = hash * ROLL + (padded[at] & 0xff);
        int mixed = hash * MIX_1;
        mixed ^= mixed >>> MIX_SHIFT;
        // No branch for those that the model does not know: it would be a coin toss.
        int id = idOf[mixed * MIX_2 >>> hashShift];
        counts[id]++;
        present[id >> 6] |= 1L << id;
      }
    }
  }

  /** Moves the ids of the text to {@link #ids}, ascending; returns how many. */
  private int drain() {
    present[nBuckets >> 6] &= ~(1L << nBuckets);
    counts[nBuckets] = 0;
    ids.clear();
    weights.clear();
    int entries = 0;
    for (int word = 0; word < present.length; word++) {
      for (long left = present[word]; left != 0; left &= left - 1) {
        ids.put(entries++, word * Long.SIZE + Long.numberOfTrailingZeros(left));
      }
      present[word] = 0;
    }
    return entries;
  }

  private long squaredNorm(int entries) {
    long sum = 0;
    for (int i = 0; i < entries; i++) {
      int id = ids.get(i);
      sum += logTfSquared[Math.min(counts[id], MAX_COUNT)] * idfSquared[id];
    }
    return sum;
  }

  private static ByteBuffer direct(int floats) {
    return ByteBuffer.allocateDirect(floats * Float.BYTES).order(ByteOrder.nativeOrder());
  }
}
