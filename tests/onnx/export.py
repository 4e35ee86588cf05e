"""Exports neural networks from their public definitions, with random weights, and what ONNX Runtime answers.

    python -m venv venv && venv/bin/pip install -r tests/onnx/requirements.txt
    venv/bin/python tests/onnx/export.py [--bench] OUT [NAME ...]
    EKIDEN_ONNX_MODELS=OUT cargo test --lib onnx::tests::models -- --nocapture

Writes OUT/NAME/model.onnx and for batches of 1, 3 and 64 rows OUT/NAME/ROWS/{input,output}_I.npy. Models marked `fixed` are
exported with a batch of 1 in the file; ONNX Runtime, which insists on it, runs them row by row. With `--bench`, the models
of `cargo bench --bench onnx` instead.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from onnxruntime import quantization
from torch import nn

warnings.filterwarnings("ignore")
BATCHES = (1, 3, 64)


def settled(module):
    """Random weights as those of a trained network: no layer dies out or explodes, and none is zero."""
    generator = torch.Generator().manual_seed(1)

    def uniform(tensor, low, high):
        tensor.data.uniform_(low, high, generator=generator)

    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            uniform(part.running_mean, -0.2, 0.2)
            uniform(part.running_var, 0.5, 1.5)
            uniform(part.weight, 0.7, 1.3)
            uniform(part.bias, -0.2, 0.2)
        elif isinstance(part, nn.LayerNorm):
            uniform(part.weight, 0.7, 1.3)
            uniform(part.bias, -0.2, 0.2)
        elif isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_uniform_(part.weight, nonlinearity="relu", generator=generator)
            if part.bias is not None:
                uniform(part.bias, -0.2, 0.2)
    return module.eval()


class Recurrent(nn.Module):
    def __init__(self, kind, bidirectional):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.layers = kind(16, 24, num_layers=2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(24 * (2 if bidirectional else 1), 5)

    def forward(self, tokens):
        outputs, _ = self.layers(self.embedding(tokens))
        return self.head(outputs[:, -1])


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, image):
        return self.decoder(self.encoder(image))


def double_conv(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip((3, *widths), widths))
        self.bottom = double_conv(widths[-1], widths[-1] * 2)
        self.turns = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths))
        self.up = nn.ModuleList(double_conv(2 * w, w) for w in reversed(widths))
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x):
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for turn, block, skip in zip(self.turns, self.up, reversed(kept)):
            x = block(torch.cat([skip, turn(x)], 1))
        return self.head(x)


def conv_silu(inputs, outputs, kernel=3, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class Detector(nn.Module):
    """A detector in the style of YOLO: a backbone, a pyramid by upsampling, one decoded head per scale, the best boxes."""

    def __init__(self, classes=4, width=16):
        super().__init__()
        self.stem = nn.Sequential(conv_silu(3, width, stride=2), conv_silu(width, 2 * width, stride=2))
        self.third = conv_silu(2 * width, 2 * width, stride=2)
        self.fourth = conv_silu(2 * width, 4 * width, stride=2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.lateral = conv_silu(12 * width, 2 * width, kernel=1)
        self.merge = conv_silu(4 * width, 2 * width)
        self.heads = nn.ModuleList(nn.Conv2d(2 * width, 5 + classes, 1) for _ in range(2))
        self.classes = classes

    def decode(self, x, head, stride):
        y = head(x).sigmoid()
        n, c, h, w = y.shape
        y = y.permute(0, 2, 3, 1)
        xy, wh, rest = y.split((2, 2, 1 + self.classes), -1)
        grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")[::-1], -1)
        xy = (xy * 2 - 0.5 + grid) * stride
        wh = (wh * 2) ** 2 * stride * 4
        return torch.cat((xy, wh, rest), -1).reshape(n, h * w, 5 + self.classes)

    def forward(self, image):
        third = self.third(self.stem(image))
        fourth = self.fourth(third)
        pooled = self.pool(fourth)
        fourth = self.lateral(torch.cat((fourth, pooled, self.pool(pooled)), 1))
        up = nn.functional.interpolate(fourth, scale_factor=2.0, mode="nearest")
        third = self.merge(torch.cat((third, up), 1))
        found = torch.cat((self.decode(third, self.heads[0], 8), self.decode(fourth, self.heads[1], 16)), 1)
        scores = found[..., 4] * found[..., 5:].amax(-1)
        best, place = scores.topk(20, 1)
        boxes = found[..., :4].gather(1, place.unsqueeze(-1).expand(-1, -1, 4))
        return boxes, best


def small_bert(kind, **config):
    import transformers

    torch.manual_seed(2)
    made = getattr(transformers, f"{kind}Config")(**config)
    made._attn_implementation = "eager"
    return settled(getattr(transformers, f"{kind}Model")(made))


class Hidden(nn.Module):
    """A transformer of tokens and a mask, as sentence embeddings have it: the mean over what is not masked."""

    def __init__(self, inner, pooled):
        super().__init__()
        self.inner, self.pooled = inner, pooled

    def forward(self, input_ids, attention_mask):
        hidden = self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if not self.pooled:
            return hidden
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)


class Gpt2(nn.Module):
    """GPT-2's prefill: the logits of the next token, for every position."""

    def __init__(self):
        super().__init__()
        import transformers

        torch.manual_seed(3)
        config = transformers.GPT2Config(vocab_size=500, n_positions=64, n_embd=128, n_layer=4, n_head=4, use_cache=False)
        config._attn_implementation = "eager"
        self.inner = settled(transformers.GPT2LMHeadModel(config))

    def forward(self, input_ids):
        return self.inner(input_ids=input_ids, use_cache=False).logits


def image(side, channels=3):
    return lambda rows, rng: (rng.standard_normal((rows, channels, side, side), dtype=np.float32),)


def row(size):
    return lambda rows, rng: (rng.standard_normal((rows, size), dtype=np.float32),)


def tokens(length, words, masked=False):
    def make(rows, rng):
        ids = rng.integers(0, words, (rows, length))
        if not masked:
            return (ids,)
        lengths = rng.integers(length // 2, length + 1, (rows, 1))
        return ids, (np.arange(length) < lengths).astype(np.int64)

    return make


def mlp():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10), nn.Softmax(-1))


def convnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )


vision = torchvision.models
BERT = dict(vocab_size=500, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512)
MINILM = dict(vocab_size=500, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
DISTILBERT = dict(vocab_size=500, dim=192, n_layers=3, n_heads=6, hidden_dim=768)

# name: (module, inputs for so many rows, whether the file holds a batch of 1)
MODELS = {
    "mlp": (mlp, row(20), False),
    "mlp_fixed": (mlp, row(20), True),
    "convnet_fixed": (convnet, image(32), True),
    "resnet18": (vision.resnet18, image(64), True),
    "resnet50": (vision.resnet50, image(64), False),
    "mobilenet_v2": (vision.mobilenet_v2, image(64), True),
    "mobilenet_v3": (vision.mobilenet_v3_large, image(64), False),
    "efficientnet_b0": (vision.efficientnet_b0, image(64), True),
    "densenet121": (vision.densenet121, image(64), False),
    "vit_b_16": (lambda: vision.vit_b_16(image_size=64), image(64), True),
    "unet": (UNet, image(32), True),
    "detector": (Detector, image(64), False),
    "bert": (lambda: Hidden(small_bert("Bert", **BERT), False), tokens(16, 500, True), False),
    "minilm": (lambda: Hidden(small_bert("Bert", **MINILM), True), tokens(16, 500, True), False),
    "distilbert": (lambda: Hidden(small_bert("DistilBert", **DISTILBERT), False), tokens(16, 500, True), False),
    "gpt2": (Gpt2, tokens(24, 500), False),
    "lstm": (lambda: Recurrent(nn.LSTM, True), tokens(12, 100), False),
    "gru": (lambda: Recurrent(nn.GRU, False), tokens(12, 100), False),
    "autoencoder": (Autoencoder, image(28, 1), True),
    "transformer": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False),
                    lambda rows, rng: (rng.standard_normal((rows, 7, 32), dtype=np.float32),), True),
    "linear": (lambda: nn.Linear(4, 1), row(4), False),
}


# What `--bench` exports: full sizes, any batch.
BENCHES = {
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), row(784), False),
    "resnet18": (vision.resnet18, image(224), False),
    "mobilenet_v2": (vision.mobilenet_v2, image(224), False),
    "minilm": (lambda: Hidden(small_bert("Bert", **(MINILM | {"vocab_size": 30522})), True), tokens(128, 30522, True), False),
}


def export(path, module, example, fixed):
    dynamic = None if fixed else [{0: torch.export.Dim.DYNAMIC} for _ in example]
    # An example of one row would make a free batch look fixed.
    tensors = tuple(torch.from_numpy(array) for array in example)
    if isinstance(module, Recurrent):
        # The recurrent layers are what the older exporter has operators for.
        names = [f"input_{at}" for at in range(len(tensors))]
        axes = {} if fixed else {name: {0: "batch"} for name in names}
        torch.onnx.export(module, tensors, path, dynamo=False, opset_version=17, input_names=names, dynamic_axes=axes)
        return
    torch.onnx.export(module, tensors, path, dynamo=True, external_data=False, dynamic_shapes=dynamic, verbose=False)


def answers(session, inputs, fixed):
    names = [port.name for port in session.get_inputs()]
    if not fixed:
        return session.run(None, dict(zip(names, inputs)))
    rows = [session.run(None, {name: array[at : at + 1] for name, array in zip(names, inputs)}) for at in range(len(inputs[0]))]
    return [np.concatenate(parts) for parts in zip(*rows)]


def write(folder, make, fixed):
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for rows in BATCHES:
        place = folder / str(rows)
        place.mkdir(exist_ok=True)
        inputs = make(rows, np.random.default_rng(rows))
        for at, array in enumerate(inputs):
            np.save(place / f"input_{at}.npy", array)
        for at, array in enumerate(answers(session, inputs, fixed)):
            np.save(place / f"output_{at}.npy", array)


class Readings(quantization.CalibrationDataReader):
    def __init__(self, name, arrays):
        self.left = iter([{name: array} for array in arrays])

    def get_next(self):
        return next(self.left, None)


def variants(out):
    """Halves and quantized forms of small models."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    mlp_path, conv_path = out / "mlp" / "model.onnx", out / "convnet_fixed" / "model.onnx"
    if not (mlp_path.exists() and conv_path.exists()):
        return
    folder = out / "mlp_float16"
    folder.mkdir(exist_ok=True)
    onnx.save(convert_float_to_float16(onnx.load(mlp_path)), folder / "model.onnx")
    write(folder, lambda rows, rng: (rng.standard_normal((rows, 20)).astype(np.float16),), False)

    folder = out / "mlp_dynamic_int8"
    folder.mkdir(exist_ok=True)
    quantization.quantize_dynamic(mlp_path, folder / "model.onnx", weight_type=quantization.QuantType.QInt8)
    write(folder, row(20), False)

    folder = out / "convnet_qdq"
    folder.mkdir(exist_ok=True)
    name = onnx.load(conv_path).graph.input[0].name
    rng = np.random.default_rng(5)
    readings = Readings(name, [image(32)(1, rng)[0] for _ in range(8)])
    quantization.quantize_static(conv_path, folder / "model.onnx", readings, quant_format=quantization.QuantFormat.QDQ)
    write(folder, image(32), True)

    # Weights in bfloat16, widened where they are used, as files of large models have them.
    folder = out / "mlp_bfloat16"
    folder.mkdir(exist_ok=True)
    model = onnx.load(mlp_path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not tensor.dims:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        narrow = onnx.helper.make_tensor(f"{tensor.name}_bf16", onnx.TensorProto.BFLOAT16, values.shape, bits.tobytes(), raw=True)
        casts.append(onnx.helper.make_node("Cast", [narrow.name], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(narrow)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, folder / "model.onnx")
    write(folder, row(20), False)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--bench"]
    bench = len(arguments) < len(sys.argv) - 1
    models = BENCHES if bench else MODELS
    out = pathlib.Path(arguments[0])
    for name in arguments[1:] or list(models):
        make_module, make_inputs, fixed = models[name]
        torch.manual_seed(0)
        module = settled(make_module())
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        example = make_inputs(1 if fixed else 2, np.random.default_rng(0))
        with torch.no_grad():
            export(str(folder / "model.onnx"), module, example, fixed)
        if bench:
            about = [(str(array.dtype), array.shape[1:]) for array in example]
            (folder / "inputs.json").write_text(json.dumps(about))
        else:
            write(folder, make_inputs, fixed)
        print(f"{name}: {(folder / 'model.onnx').stat().st_size / 1e6:.1f} MB", flush=True)
    if len(arguments) == 1 and not bench:
        variants(out)


if __name__ == "__main__":
    main()
