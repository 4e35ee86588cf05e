"""The manifests of docs/kserve.yaml, against what KServe's own SDK knows of their schemas: every key is one of the schema's,
of the type that it has there, and what is required is there."""

import pathlib
import re

import kserve.models
import kubernetes.client.models
import pytest
import yaml

MANIFESTS = pathlib.Path(__file__).parents[2] / "docs" / "kserve.yaml"
KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def check(kind, value, path):
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{path}: expected {kind}, found {value!r}"
    elif inner := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        assert isinstance(value, list), f"{path}: expected a list, found {value!r}"
        for index, item in enumerate(value):
            check(inner[1], item, f"{path}[{index}]")
    elif inner := re.fullmatch(r"[Dd]ict[\[(](\w+), (.*)[\])]", kind):
        assert isinstance(value, dict), f"{path}: expected an object, found {value!r}"
        for key, item in value.items():
            check(inner[1], key, f"{path}.{key}")
            check(inner[2], item, f"{path}.{key}")
    elif kind in ("IntOrString", "ResourceQuantity"):
        assert isinstance(value, (int, str)), f"{path}: expected a number or a text, found {value!r}"
    else:
        model = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
        types, names = model.openapi_types, {name: attribute for attribute, name in model.attribute_map.items()}
        assert isinstance(value, dict), f"{path}: expected {kind}, found {value!r}"
        for key, item in value.items():
            assert key in names, f"{path}: {kind} has no {key}; it has {', '.join(sorted(names))}"
            check(types[names[key]], item, f"{path}.{key}")
        # The constructor of a model refuses what is required and missing.
        model(**{names[key]: item for key, item in value.items()})


def manifests():
    return list(yaml.safe_load_all(MANIFESTS.read_text()))


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: manifest["kind"])
def test_schema(manifest):
    check(KINDS[manifest["kind"]], manifest, manifest["kind"])


def test_wrong_manifests_are_noticed():
    def wrong(change):
        runtime, service = manifests()
        change(runtime["spec"], service["spec"]["predictor"])
        with pytest.raises((AssertionError, ValueError)):
            check(KINDS["ServingRuntime"], runtime, "runtime")
            check(KINDS["InferenceService"], service, "service")

    wrong(lambda runtime, _: runtime.update(protocolVersion="v2"))
    wrong(lambda runtime, _: runtime.update(protocolVersions="v2"))
    wrong(lambda runtime, _: runtime["containers"][0].pop("name"))
    wrong(lambda _, predictor: predictor["model"].update(storageURI="pvc://models"))
    wrong(lambda _, predictor: predictor["model"].pop("modelFormat"))


def test_service_and_runtime_belong_together():
    runtime, service = manifests()
    model = service["spec"]["predictor"]["model"]
    formats = [known["name"] for known in runtime["spec"]["supportedModelFormats"]]
    assert model["runtime"] == runtime["metadata"]["name"] and model["modelFormat"]["name"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_each_protocol_has_a_port():
    runtime, _ = manifests()
    assert runtime["spec"]["protocolVersions"] == ["v2", "grpc-v2"]
    (container,) = runtime["spec"]["containers"]
    binds = dict(arg.split("=") for arg in container["args"] if re.match("--(grpc-)?bind=", arg))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert binds == {
        "--bind": f"0.0.0.0:{ports['http1']}",
        "--grpc-bind": f"0.0.0.0:{ports['grpc-port']}",
    }
