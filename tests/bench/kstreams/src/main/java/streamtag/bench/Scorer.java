package streamtag.bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Set;

/** A text to its scores. For one thread. */
final class Scorer implements AutoCloseable {
  private static final double MICRO = 1_000_000;

  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final Normaliser normaliser;
  private final Featuriser featuriser;
  private final OrtSession session;
  // The graph writes its answer here, so that none has to be made and copied for each event.
  private final FloatBuffer answer;
  private final Map<String, OnnxTensor> pinned;

  Scorer(Job.Model model, int labels) throws OrtException {
    normaliser = new Normaliser(model);
    featuriser = new Featuriser(model);
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      options.addConfigEntry("session.intra_op.allow_spinning", "0");
      options.addConfigEntry("session.inter_op.allow_spinning", "0");
      options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
      session = environment.createSession(model.graph(), options);
    }
    answer = ByteBuffer.allocateDirect(labels * Float.BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer();
    pinned = Map.of("scores", OnnxTensor.createTensor(environment, answer, new long[] {1, labels}));
  }

  /** Puts the score of each label, in millionths, into {@code micro}. */
  void score(String text, int[] micro) {
    featuriser.featurise(normaliser.encode(text));
    int width = featuriser.ids.limit();
    try (OnnxTensor ids = OnnxTensor.createTensor(environment, featuriser.ids, new long[] {1, width});
        OnnxTensor weights = OnnxTensor.createTensor(environment, featuriser.weights, new long[] {1, 1, width})) {
      session.run(Map.of("ids", ids, "weights", weights), Set.of(), pinned).close();
    } catch (OrtException error) {
      throw new IllegalStateException("the model failed", error);
    }
    for (int label = 0; label < micro.length; label++) {
      micro[label] = (int) Math.rint(answer.get(label) * MICRO);
    }
  }

  @Override
  public void close() throws OrtException {
    pinned.values().forEach(OnnxTensor::close);
    session.close();
  }
}
