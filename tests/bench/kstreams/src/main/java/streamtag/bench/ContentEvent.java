package streamtag.bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

/** What comes in; of its fields, those that a tag event needs. */
@JsonIgnoreProperties(ignoreUnknown = true)
record ContentEvent(String id, String text, String lang, String channel, String tenant) {}
