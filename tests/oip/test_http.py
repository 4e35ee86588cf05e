"""The Open Inference Protocol over HTTP, by the client of Triton that people use: tritonclient[http]."""

import asyncio
import json
import urllib.request

import numpy as np
import pytest
import tritonclient.http.aio as asyncio_client
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from datatypes import NUMBERS, texts


@pytest.fixture
def client(server):
    with InferenceServerClient(server.http, concurrency=8) as client:
        yield client


def tensor(name, datatype, array, binary=True):
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def milliseconds(number):
    return [tensor("x", "INT32", np.array([number], np.int32))]


def counted(client, model):
    """The batches that ran, and the calls that were not answered."""
    (model,) = client.get_inference_statistics(model)["model_stats"]
    return model["execution_count"], model["inference_stats"]["fail"]["count"]


def eventually(ask, holds):
    """What is answered once it holds, or after asking often enough."""
    for _ in range(2000):
        if holds(answer := ask()):
            break
    return answer


def test_health(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("pair") and client.is_model_ready("types.bool")
    assert not client.is_model_ready("types") and not client.is_model_ready("pair", "1")


def test_metadata(client):
    about = client.get_server_metadata()
    assert about["name"] == "ekiden"
    assert set(about["extensions"]) == {
        "binary_tensor_data", "classification", "model_configuration", "schedule_policy", "statistics",
    }
    pair = client.get_model_metadata("pair")
    assert pair["inputs"] == [
        {"name": "numbers", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "texts", "datatype": "BYTES", "shape": [-1]},
    ]
    config = client.get_model_config("pair")
    assert config["name"] == "pair" and config["max_batch_size"] > 0
    assert config["input"][0] == {"name": "numbers", "data_type": "TYPE_FP32", "dims": [3]}


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_numbers(client, datatype, binary_in, binary_out):
    method, numbers, dtype = NUMBERS[datatype]
    array = np.array(numbers, dtype)
    if datatype == "BF16" and not binary_in:
        pytest.skip("the client sends these in binary alone")
    inputs = [tensor("x", datatype, array, binary_in)]
    outputs = [InferRequestedOutput("y", binary_data=binary_out)]
    result = client.infer(f"types.{method}", inputs, outputs=outputs)
    assert result.get_output("y")["datatype"] == datatype
    answered = result.as_numpy("y")
    assert answered.dtype == dtype and answered.shape == (1, 3)
    assert np.array_equal(answered, array)


@pytest.mark.parametrize("binary", [True, False])
def test_bytes(client, binary):
    words = texts(b"a", "ä".encode(), b"", b"[1]", b"1.5")
    outputs = [InferRequestedOutput("y", binary_data=binary)]
    result = client.infer("types.texts", [tensor("x", "BYTES", words, binary)], outputs=outputs)
    answered = result.as_numpy("y")
    expected = words if binary else [word.decode() for word in words]
    assert answered.shape == (5,) and list(answered) == list(expected)


def test_raw_bytes(client):
    word = texts(b"\xff\x00\xfe")
    result = client.infer("types.bytes", [tensor("x", "BYTES", word)])
    assert result.as_numpy("y")[0] == b"\xff\x00\xfe"
    with pytest.raises(InferenceServerException, match="not UTF-8") as raised:
        client.infer("types.bytes", [tensor("x", "BYTES", word)], outputs=[InferRequestedOutput("y", binary_data=False)])
    assert raised.value.status() == "406"


def pair(rows):
    numbers = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
    return numbers, [tensor("texts", "BYTES", texts(*[b"a"] * rows)), tensor("numbers", "FP32", numbers)]


def test_id_and_options(client):
    numbers, inputs = pair(2)
    result = client.infer(
        "pair", inputs, request_id="seven", priority=1, timeout=10_000_000, parameters={"own": "thing"}
    )
    assert result.get_response()["id"] == "seven" and result.get_response()["model_name"] == "pair"
    assert np.array_equal(result.as_numpy("numbers"), numbers)
    assert list(result.as_numpy("texts")) == [b"a", b"a"]


def test_async(client):
    calls = []
    for rows in range(1, 9):
        numbers, inputs = pair(rows)
        calls.append((numbers, client.async_infer("pair", inputs)))
    for numbers, call in calls:
        assert np.array_equal(call.get_result().as_numpy("numbers"), numbers)


def queued(server):
    with urllib.request.urlopen(f"http://{server.http}/v1/runners/types") as answer:
        return sum(method["queued_rows"] for method in json.load(answer)["methods"])


def test_asyncio(server):
    async def calls():
        async with asyncio_client.InferenceServerClient(server.http) as client:
            assert await client.is_server_ready()
            asked = [pair(rows) for rows in range(1, 9)]
            answers = await asyncio.gather(*[client.infer("pair", inputs) for _, inputs in asked])
            for (numbers, _), answer in zip(asked, answers):
                assert np.array_equal(answer.as_numpy("numbers"), numbers)
            # When the second waits, the first has the executor.
            slow, next_slow = [asyncio.create_task(client.infer("types.slow", milliseconds(1000))) for _ in range(2)]
            while not queued(server):
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.infer("types.values", [tensor("x", "BYTES", texts(b"1"))]), 0.2)
            assert (await slow).as_numpy("y")[0] == 1000
            assert (await next_slow).as_numpy("y")[0] == 1000

    asyncio.run(calls())
    with InferenceServerClient(server.http) as client:
        counts = eventually(lambda: counted(client, "types.values"), lambda counts: counts != (0, 0))
    assert counts == (0, 1), "the call that was given up has not run"


@pytest.mark.parametrize("request_algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(client, request_algorithm, response_algorithm, binary):
    numbers = np.arange(3000, dtype=np.float32).reshape(3, 1000)
    result = client.infer(
        "types.float32",
        [tensor("x", "FP32", numbers, binary)],
        outputs=[InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=request_algorithm,
        response_compression_algorithm=response_algorithm,
    )
    assert np.array_equal(result.as_numpy("y"), numbers)


def test_classification(client):
    scores = np.array([[0.1, 0.7, 0.2], [3.0, 1.0, 2.0]], np.float32)
    outputs = [InferRequestedOutput("y", class_count=2)]
    result = client.infer("types.float32", [tensor("x", "FP32", scores)], outputs=outputs)
    answered = result.as_numpy("y")
    assert answered.shape == (2, 2)
    assert [[row[0].decode(), row[1].decode()] for row in answered] == [
        ["0.700000:1", "0.200000:2"], ["3.000000:0", "2.000000:2"],
    ]


def test_statistics(client):
    def statistics():
        (model,) = client.get_inference_statistics("types.int8")["model_stats"]
        return model

    before = statistics()
    rows = np.zeros((4, 2), np.int8)
    for _ in range(3):
        client.infer("types.int8", [tensor("x", "INT8", rows)])
    with pytest.raises(InferenceServerException):
        client.infer("types.int8", [tensor("x", "INT16", rows.astype(np.int16))])
    # A batch is counted when its calls have been answered.
    after = eventually(statistics, lambda now: now["execution_count"] >= before["execution_count"] + 3)
    assert after["inference_count"] == before["inference_count"] + 12
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 3
    assert after["inference_stats"]["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1
    (batches,) = [batches for batches in after["batch_stats"] if batches["batch_size"] == 4]
    assert batches["compute_infer"]["count"] >= 3 and batches["compute_infer"]["ns"] > 0
    names = [model["name"] for model in client.get_inference_statistics()["model_stats"]]
    assert "pair" in names and "types.int8" in names


@pytest.mark.parametrize(
    "model, inputs, status, message",
    [
        ("pare", [], "404", 'there is no model "pare"; did you mean "pair"'),
        ("pair", [], "400", 'inputs "numbers", "texts" are missing'),
        ("types.int8", [tensor("z", "INT8", np.zeros((1, 1), np.int8))], "400", 'there is no input "z"'),
        ("types.int8", [tensor("x", "FP32", np.zeros((1, 1), np.float32))], "400", "expected datatype INT8, found FP32"),
        ("types.int8", [tensor("x", "INT8", np.zeros(1, np.int8))], "400", "rank 2, found rank 1"),
        ("types.fail", [tensor("how", "BYTES", texts(b"invalid"))], "400", "nobody can answer that"),
        ("types.fail", [tensor("how", "BYTES", texts(b"failed"))], "500", "it went wrong"),
    ],
)
def test_errors(client, model, inputs, status, message):
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, inputs)
    assert raised.value.status() == status and message in raised.value.message()


def test_timeout(client):
    with pytest.raises(InferenceServerException, match="504"):
        slow = client.async_infer("types.slow", milliseconds(500))
        client.infer("types.text", [tensor("x", "BYTES", texts(b"late"))], timeout=50_000)
    assert slow.get_result().as_numpy("y")[0] == 500


def test_sequences_and_shared_memory_are_refused(client):
    with pytest.raises(InferenceServerException, match="sequences are not supported"):
        client.infer("pair", pair(1)[1], sequence_id=7, sequence_start=True)
    shared = InferInput("x", [1, 1], "INT8")
    shared.set_shared_memory("region", 1)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("types.int8", [shared])
    with pytest.raises(InferenceServerException, match="extensions that work"):
        client.get_system_shared_memory_status()


def test_cancellation(client, server):
    """Who hangs up while the call waits costs no run."""
    runs, fails = counted(client, "types.json")
    slow = client.async_infer("types.slow", milliseconds(1500))
    with InferenceServerClient(server.http, network_timeout=0.3) as impatient:
        with pytest.raises(Exception, match="timed out"):
            impatient.infer("types.json", [tensor("x", "BYTES", texts(b"1"))])
    assert slow.get_result().as_numpy("y")[0] == 1500
    # It is counted when the queue is looked at.
    assert eventually(lambda: counted(client, "types.json"), lambda counts: counts != (runs, fails)) == (runs, fails + 1)


def test_repository(client, server):
    with InferenceServerClient(server.admin) as admin:
        assert "model_repository" in admin.get_server_metadata()["extensions"]
        states = {model["name"]: model["state"] for model in admin.get_model_repository_index()}
        assert states["pair"] == "READY" and "types.bool" in states
        admin.unload_model("pair")
        assert not client.is_model_ready("pair") and not client.is_server_ready()
        with pytest.raises(InferenceServerException, match="503"):
            client.infer("pair", pair(1)[1])
        admin.load_model("pair")
        assert client.is_model_ready("pair") and client.is_server_ready()
        client.infer("pair", pair(1)[1])
        with pytest.raises(InferenceServerException, match="404"):
            admin.load_model("pare")
    with pytest.raises(InferenceServerException, match="admin listener"):
        client.unload_model("pair")
