"""Ids by sentencepiece itself.

sentencepiece_ids.py MODEL TEXT...            writes them to stdout as int32, each text's behind their count
sentencepiece_ids.py --goldens MODEL TEXT...  writes a line for each text: model, text, count, FNV-1a hash of the int32s

MODEL is a tokenizer.model, or a llama2.c tokenizer dump (.bin), from which a model is put together."""
import struct
import sys

import sentencepiece


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def model_of_dump(path):
    """A sentencepiece BPE model with byte fallback out of the pieces and scores of a llama2.c dump."""
    raw = open(path, "rb").read()
    pieces, at, index = b"", 4, 0
    while at < len(raw):
        score, size = struct.unpack_from("<fi", raw, at)
        piece = raw[at + 8 : at + 8 + size].replace(b" ", b"\xe2\x96\x81")
        at += 8 + size
        kind = 2 if index == 0 else 3 if index < 3 else 6 if index < 259 else 1
        names = {0: b"<unk>", 1: b"<s>", 2: b"</s>"}
        body = field(1, names.get(index, piece.strip() if kind == 3 else piece))
        body += b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        pieces += field(1, body)
        index += 1
    trainer = b"\x18\x02" + varint(35 << 3) + b"\x01"  # model_type = BPE, byte_fallback = true
    normalizer = field(1, b"identity") + b"\x18\x01\x20\x00\x28\x01"  # dummy prefix, keep spaces, escape
    return pieces + field(2, trainer) + field(3, normalizer)


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


goldens = sys.argv[1] == "--goldens"
if goldens:
    del sys.argv[1]
processor = sentencepiece.SentencePieceProcessor()
if sys.argv[1].endswith(".bin"):
    processor.LoadFromSerializedProto(model_of_dump(sys.argv[1]))
else:
    processor.Load(sys.argv[1])
for name in sys.argv[2:]:
    ids = processor.EncodeAsIds(open(name, "rb").read().decode("utf-8", "replace"))
    if goldens:
        print("/".join(sys.argv[1].split("/")[-2:]), name.split("/")[-1], len(ids), f"{fnv1a(struct.pack(f'<{len(ids)}i', *ids)):016x}")
        continue
    sys.stdout.buffer.write(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
