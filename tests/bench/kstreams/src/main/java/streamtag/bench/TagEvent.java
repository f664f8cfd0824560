package streamtag.bench;

import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * What goes out.
 *
 * @param source where {@code content} stands
 * @param micro score of each label, in millionths
 */
record TagEvent(ContentEvent content, RecordMetadata source, long timestampMs, int[] micro) {}
