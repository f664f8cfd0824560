package streamtag.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.io.SerializedString;
import com.fasterxml.jackson.core.util.ByteArrayBuilder;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** The wire format of events. */
final class Json {
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
          .enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER)
          .build();
  private static final ObjectMapper MAPPER = new ObjectMapper(FACTORY);

  private Json() {}

  static Serde<ContentEvent> contentEvents() {
    ObjectReader reader = MAPPER.readerFor(ContentEvent.class);
    return Serdes.serdeFrom(
        (topic, event) -> {
          throw new UnsupportedOperationException("content events are only read");
        },
        (topic, value) -> {
          try {
            return reader.readValue(value);
          } catch (IOException error) {
            throw new SerializationException("not a content event", error);
          }
        });
  }

  static Serde<TagEvent> tagEvents(Job job) {
    TagEventWriter writer = new TagEventWriter(job);
    return Serdes.serdeFrom(
        (topic, event) -> writer.write(event),
        (topic, value) -> {
          throw new UnsupportedOperationException("tag events are only written");
        });
  }

  /** Encodes tag events; what is the same in all of them was encoded beforehand. */
  private static final class TagEventWriter {
    private static final double MICRO = 1_000_000;
    private static final DateTimeFormatter RFC_3339 = new DateTimeFormatterBuilder().appendInstant(3).toFormatter();

    private final SerializableString[] labels;
    private final double[] cutoffs;
    private final SerializableString thresholds;
    private final SerializableString release;

    TagEventWriter(Job job) {
      labels = job.labels().stream().map(SerializedString::new).toArray(SerializableString[]::new);
      cutoffs = job.cutoffs();
      Map<String, Double> named = new LinkedHashMap<>();
      for (int label = 0; label < cutoffs.length; label++) {
        named.put(job.labels().get(label), cutoffs[label]);
      }
      thresholds = new SerializedString(MAPPER.valueToTree(named).toString());
      release = new SerializedString(job.release().toString());
    }

    byte[] write(TagEvent event) {
      try (ByteArrayBuilder out = new ByteArrayBuilder(1_024);
          JsonGenerator json = FACTORY.createGenerator(out)) {
        json.writeStartObject();
        json.writeStringField("id", event.content().id());
        writeSource(json, event);
        writeTags(json, event.micro());
        json.writeObjectFieldStart("scores");
        for (int label = 0; label < labels.length; label++) {
          json.writeFieldName(labels[label]);
          json.writeNumber(event.micro()[label] / MICRO);
        }
        json.writeEndObject();
        json.writeFieldName("thresholds");
        json.writeRawValue(thresholds);
        json.writeFieldName("release");
        json.writeRawValue(release);
        json.writeStringField("processed_at", RFC_3339.format(Instant.now()));
        writeSegment(json, event.content());
        json.writeEndObject();
        json.flush();
        return out.toByteArray();
      } catch (IOException error) {
        throw new SerializationException(error);
      }
    }

    private static void writeSource(JsonGenerator json, TagEvent event) throws IOException {
      json.writeObjectFieldStart("source");
      json.writeStringField("topic", event.source().topic());
      json.writeNumberField("partition", event.source().partition());
      json.writeNumberField("offset", event.source().offset());
      json.writeNumberField("timestamp_ms", event.timestampMs());
      json.writeEndObject();
    }

    private void writeTags(JsonGenerator json, int[] micro) throws IOException {
      json.writeArrayFieldStart("tags");
      for (int label = 0; label < labels.length; label++) {
        double score = micro[label] / MICRO;
        if (score >= cutoffs[label]) {
          json.writeStartObject();
          json.writeFieldName("label");
          json.writeString(labels[label]);
          json.writeNumberField("score", score);
          json.writeNumberField("threshold", cutoffs[label]);
          json.writeStringField("action", "tag");
          json.writeEndObject();
        }
      }
      json.writeEndArray();
    }

    private static void writeSegment(JsonGenerator json, ContentEvent content) throws IOException {
      if (content.lang() == null && content.channel() == null && content.tenant() == null) {
        return;
      }
      json.writeObjectFieldStart("segment");
      writeIfThere(json, "lang", content.lang());
      writeIfThere(json, "channel", content.channel());
      writeIfThere(json, "tenant", content.tenant());
      json.writeEndObject();
    }

    private static void writeIfThere(JsonGenerator json, String name, String value) throws IOException {
      if (value != null) {
        json.writeStringField(name, value);
      }
    }
  }
}
