"""`tf.train.Example`, byte-compatible with TensorFlow's, without TensorFlow.

The message is built at run time in a descriptor pool of its own, so that it never collides with a
TensorFlow that is imported into the same process.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from talkface_jax.data import remedy
from talkface_jax.errors import RecordError

Value = bytes | int | float
_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = ("bytes_list", "float_list", "int64_list")


def _lists(file: descriptor_pb2.FileDescriptorProto) -> None:
    for name, kind in (
        ("BytesList", _FIELD.TYPE_BYTES),
        ("FloatList", _FIELD.TYPE_FLOAT),
        ("Int64List", _FIELD.TYPE_INT64),
    ):
        field = file.message_type.add(name=name).field.add(
            name="value", number=1, type=kind, label=_FIELD.LABEL_REPEATED
        )
        if kind != _FIELD.TYPE_BYTES:
            field.options.packed = True


@functools.cache
def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="talkface/example.proto", package="tensorflow", syntax="proto3"
    )
    _lists(file)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(
        zip(_KINDS, ("BytesList", "FloatList", "Int64List"), strict=True), start=1
    ):
        feature.field.add(
            name=name,
            number=number,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".tensorflow.{kind}",
            label=_FIELD.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    one, many = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=one)
    message = {"type": _FIELD.TYPE_MESSAGE}
    entry.field.add(name="value", number=2, type_name=".tensorflow.Feature", label=one, **message)
    features.field.add(
        name="feature",
        number=1,
        type_name=".tensorflow.Features.FeatureEntry",
        label=many,
        **message,
    )
    file.message_type.add(name="Example").field.add(
        name="features", number=1, type_name=".tensorflow.Features", label=one, **message
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def dumps(features: Mapping[str, Sequence[Value]]) -> bytes:
    """Serialises features; the same features give the same bytes.

    Lists of bytes, of int or of float; an empty list is stored as an empty bytes list.
    """
    example = _example_class()()
    for name, values in features.items():
        feature = example.features.feature[name]
        if not values or isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
            feature.bytes_list.SetInParent()
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example.SerializeToString(deterministic=True)


def loads(data: bytes) -> dict[str, list[Value]]:
    """The features of a serialised example.

    Raises:
      RecordError: the bytes are no `tf.train.Example`.
    """
    try:
        example = _example_class().FromString(data)
    except DecodeError as error:
        raise RecordError(
            f"a record of {len(data)} bytes is not a tf.train.Example; {remedy.PREPARE_ANEW}"
        ) from error
    result: dict[str, list[Value]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        result[name] = list(getattr(feature, kind).value) if kind else []
    return result
