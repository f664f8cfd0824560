package streamtag.bench;

import ai.onnxruntime.OrtException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * The tagger as one would write it with Kafka Streams.
 *
 * <p>Event by event. A processor that collected events to score them together would have Streams commit the offsets of
 * events that are still in its memory: after a crash they would be gone, exactly-once or not. A state store would keep
 * them, at the price of a second topic.
 */
public final class Tagger {
  private static final Duration CLOSE_IN = Duration.ofSeconds(10);

  // The default, 16 KiB, holds some twenty tag events.
  private static final int PRODUCER_BATCH_BYTES = 256 * 1024;

  private Tagger() {}

  /** Runs the job whose file is named, until it is told to stop. */
  public static void main(String[] arguments) throws IOException {
    Job job = Job.read(Path.of(arguments[0]));
    KafkaStreams streams = new KafkaStreams(topology(job), settings(job));
    CountDownLatch failed = new CountDownLatch(1);
    streams.setStateListener(
        (state, before) -> {
          if (state == KafkaStreams.State.ERROR) {
            failed.countDown();
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_IN)));
    streams.start();
    try {
      failed.await();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    System.exit(1);
  }

  private static Topology topology(Job job) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(job.input(), Consumed.with(Serdes.ByteArray(), Json.contentEvents()))
        .processValues(() -> new Tagging(job))
        .to(job.output(), Produced.with(Serdes.ByteArray(), Json.tagEvents(job)));
    return builder.build();
  }

  private static Properties settings(Job job) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.bootstrap());
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, job.group());
    settings.put(StreamsConfig.STATE_DIR_CONFIG, job.state());
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, job.commitIntervalMs());
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), PRODUCER_BATCH_BYTES);
    return settings;
  }

  /** Content events to tag events, in the order of the topic. */
  private static final class Tagging extends ContextualFixedKeyProcessor<byte[], ContentEvent, TagEvent> {
    private final Scorer scorer;
    private final int labels;

    Tagging(Job job) {
      labels = job.labels().size();
      try {
        scorer = new Scorer(job.model(), labels);
      } catch (OrtException error) {
        throw new IllegalStateException("the model cannot be loaded", error);
      }
    }

    @Override
    public void process(FixedKeyRecord<byte[], ContentEvent> record) {
      int[] micro = new int[labels];
      scorer.score(record.value().text(), micro);
      RecordMetadata from = context().recordMetadata().orElseThrow();
      context().forward(record.withValue(new TagEvent(record.value(), from, record.timestamp(), micro)));
    }

    @Override
    public void close() {
      try {
        scorer.close();
      } catch (OrtException error) {
        throw new IllegalStateException("the model cannot be unloaded", error);
      }
    }
  }
}
