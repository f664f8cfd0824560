package streamtag.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * What this peer gets told, by {@code tests/bench/kstreams_peer.py}.
 *
 * @param group the consumer group, which to Kafka Streams is the application id
 * @param state directory, empty: nothing here has a state
 * @param release goes into every tag event as it is
 * @param labels in the order of the score columns
 * @param cutoffs of the labels, in the same order
 */
record Job(
    String bootstrap,
    String input,
    String output,
    String group,
    int commitIntervalMs,
    String state,
    JsonNode release,
    List<String> labels,
    double[] cutoffs,
    Model model) {

  /**
   * The bundle, and the tables of its preprocessing contract {@code hashed-ngrams/1}.
   *
   * @param graph file of the ONNX graph
   * @param buckets the hash buckets that the model knows, ascending
   * @param idf their inverse document frequencies, in units of 1/256
   * @param headChars a text longer than head and tail together is read at its ends only
   * @param invisible code points that go before NFKC
   * @param folded what becomes of a code point after NFKC, where it does not stay as it is
   * @param bytes what becomes of each byte at last
   */
  record Model(
      String graph,
      int[] buckets,
      int[] idf,
      int bits,
      int headChars,
      int tailChars,
      boolean nfkc,
      int[] invisible,
      Map<Integer, String> folded,
      int[] bytes) {}

  static Job read(Path path) throws IOException {
    return new ObjectMapper().readValue(path.toFile(), Job.class);
  }
}
