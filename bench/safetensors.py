"""A folder with a model of numpy arrays."""
import json


def write_model(folder, config, tensors):
    """config.json and model.safetensors; tensors by name, of f2 or f4."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    header, offset = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": {"f2": "F16", "f4": "F32"}[t.dtype.str[1:]], "shape": list(t.shape),
                        "data_offsets": [offset, offset + t.nbytes]}
        offset += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            out.write(t.tobytes())
