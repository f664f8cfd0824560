"""Records that confluent-kafka itself would not send: header names of any bytes, through librdkafka's C interface."""

import ctypes

from confluent_kafka import cimpl

_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _KEY, _HEADERS = 0, 1, 3, 4, 5, 10  # rd_kafka_vtype_t
_COPY = (7, 2)  # RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY
_Pointer = ctypes.c_void_p


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(cimpl.__file__)  # finds librdkafka's functions in what the module is linked with
    text = ctypes.c_char_p
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, name).restype = _Pointer
    library.rd_kafka_conf_set.argtypes = [_Pointer, text, text, text, ctypes.c_size_t]
    library.rd_kafka_new.argtypes = [ctypes.c_int, _Pointer, text, ctypes.c_size_t]
    library.rd_kafka_header_add.argtypes = [_Pointer, text, ctypes.c_ssize_t, text, ctypes.c_ssize_t]
    library.rd_kafka_flush.argtypes = [_Pointer, ctypes.c_int]
    library.rd_kafka_destroy.argtypes = [_Pointer]
    return library


def send(
    bootstrap: str,
    topic: str,
    value: bytes | None,
    headers: list[tuple[bytes, bytes]],
    *,
    key: bytes | None = None,
    times: int = 1,
) -> None:
    """Produces equal records to partition 0 and waits until the broker has them."""
    library = _library()
    reason = ctypes.create_string_buffer(512)
    configuration = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(configuration, b"bootstrap.servers", bootstrap.encode(), reason, 512)
    library.rd_kafka_conf_set(configuration, b"log_level", b"0", reason, 512)
    client = _Pointer(library.rd_kafka_new(_PRODUCER, configuration, reason, 512))
    number, size = ctypes.c_int, ctypes.c_size_t
    for _ in range(times):
        added = _Pointer(library.rd_kafka_headers_new(len(headers)))  # the record's from now on
        for name, content in headers:
            library.rd_kafka_header_add(added, name, len(name), content, len(content))
        failed = library.rd_kafka_producev(
            client,
            *(number(_TOPIC), ctypes.c_char_p(topic.encode())),
            *(number(_PARTITION), ctypes.c_int32(0)),
            *(number(_COPY[0]), number(_COPY[1])),
            *(number(_VALUE), ctypes.c_char_p(value), size(len(value or b""))),
            *(number(_KEY), ctypes.c_char_p(key), size(len(key or b""))),
            *(number(_HEADERS), added),
            number(_END),
        )
        assert not failed, f"librdkafka error {failed}"
    assert not library.rd_kafka_flush(client, 10_000), "the broker did not take it"
    library.rd_kafka_destroy(client)
