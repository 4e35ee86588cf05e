"""The Open Inference Protocol over gRPC, by the client of Triton that people use: tritonclient[grpc]."""

import asyncio
import json
import queue
import threading
import time
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc.aio
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, service_pb2
from tritonclient.utils import InferenceServerException

from datatypes import NUMBERS, texts

# The lists that the protocol has for elements that are not raw. There is none for FP16 and BF16.
LISTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


@pytest.fixture
def client(server):
    with InferenceServerClient(server.grpc) as client:
        yield client


def tensor(name, datatype, array):
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def word(text):
    return [tensor("x", "BYTES", texts(text))]


def milliseconds(number):
    return [tensor("x", "INT32", np.array([number], np.int32))]


def pair(rows):
    numbers = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
    return numbers, [tensor("texts", "BYTES", texts(*[b"a"] * rows)), tensor("numbers", "FP32", numbers)]


def eventually(holds):
    start = time.monotonic()
    while not holds():
        assert time.monotonic() < start + 60


def counted(client, model):
    """Batches, and calls that were not answered."""
    (stats,) = client.get_inference_statistics(model).model_stats
    return stats.execution_count, stats.inference_stats.fail.count


def test_health(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("pair") and client.is_model_ready("types.bool")
    with pytest.raises(InferenceServerException, match="has several methods"):
        client.is_model_ready("types")
    with pytest.raises(InferenceServerException, match='no version "1"'):
        client.is_model_ready("pair", "1")


def test_metadata(client):
    about = client.get_server_metadata()
    assert about.name == "ekiden"
    assert {"classification", "model_configuration", "schedule_policy", "statistics"} <= set(about.extensions)
    # What does not work here is not advertised.
    absent = {"model_repository", "cuda_shared_memory", "system_shared_memory", "sequence", "trace", "logging"}
    assert absent.isdisjoint(about.extensions)
    about = client.get_model_metadata("pair", as_json=True)
    assert about["inputs"] == [
        {"name": "numbers", "datatype": "FP32", "shape": ["-1", "3"]},
        {"name": "texts", "datatype": "BYTES", "shape": ["-1"]},
    ]
    assert [output["name"] for output in about["outputs"]] == ["texts", "numbers"]


def test_config(client):
    config = client.get_model_config("pair").config
    assert (config.name, config.platform, config.backend) == ("pair", "ekiden", "ekiden")
    assert config.max_batch_size > 0 and config.HasField("dynamic_batching")
    assert config.input[0].name == "numbers" and list(config.input[0].dims) == [3]
    assert not config.model_transaction_policy.decoupled
    assert client.get_model_config("types.text").config.max_batch_size == 0


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers(client, datatype):
    method, numbers, dtype = NUMBERS[datatype]
    array = np.array(numbers, dtype)
    result = client.infer(f"types.{method}", [tensor("x", datatype, array)])
    assert result.get_output("y").datatype == datatype
    answered = result.as_numpy("y")
    assert answered.dtype == dtype and answered.shape == (1, 3)
    assert np.array_equal(answered, array)


@pytest.mark.parametrize("datatype", LISTS)
def test_typed_contents(client, datatype):
    method, numbers, dtype = NUMBERS[datatype]
    array = np.array(numbers, dtype)
    request = service_pb2.ModelInferRequest(model_name=f"types.{method}")
    request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    getattr(request.inputs[0].contents, LISTS[datatype]).extend(array.flatten().tolist())
    response = client._client_stub.ModelInfer(request)
    assert response.raw_output_contents[0] == array.tobytes()


def test_bytes(client):
    words = texts(b"a", "ä".encode(), b"", b"[1]", b"1.5")
    answered = client.infer("types.texts", [tensor("x", "BYTES", words)]).as_numpy("y")
    assert answered.shape == (5,) and list(answered) == list(words)
    assert client.infer("types.bytes", word(b"\xff\x00\xfe")).as_numpy("y")[0] == b"\xff\x00\xfe"
    assert client.infer("types.json", word(b'{"a": [1, 2]}')).as_numpy("y")[0] == b'{"a":[1,2]}'
    with pytest.raises(InferenceServerException, match="not UTF-8"):
        client.infer("types.text", word(b"\xff"))
    request = service_pb2.ModelInferRequest(model_name="types.texts")
    request.inputs.add(name="x", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"a", b""])
    assert client._client_stub.ModelInfer(request).raw_output_contents[0] == b"\x01\0\0\0a\0\0\0\0"


def test_no_rows(client):
    result = client.infer("pair", pair(0)[1])
    assert result.as_numpy("numbers").shape == (0, 3) and result.as_numpy("texts").shape == (0,)


def test_id_and_options(client):
    numbers, inputs = pair(2)
    result = client.infer(
        "pair",
        inputs,
        request_id="seven",
        priority=1,
        timeout=10_000_000,
        parameters={"own": "thing"},
        outputs=[InferRequestedOutput("numbers"), InferRequestedOutput("texts")],
    )
    response = result.get_response()
    assert (response.id, response.model_name) == ("seven", "pair")
    assert [output.name for output in response.outputs] == ["numbers", "texts"]
    assert np.array_equal(result.as_numpy("numbers"), numbers)
    assert list(result.as_numpy("texts")) == [b"a", b"a"]


def test_large_messages(client):
    array = np.arange(6 << 20, dtype=np.float32).reshape(6, 1 << 20)
    answered = client.infer("types.float32", [tensor("x", "FP32", array)]).as_numpy("y")
    assert np.array_equal(answered, array)
    too_large = np.zeros((1, 65 << 20), np.uint8)
    with pytest.raises(InferenceServerException, match="max_body_bytes = 67108864") as raised:
        client.infer("types.uint8", [tensor("x", "UINT8", too_large)])
    assert raised.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_async(client):
    answers = queue.Queue()
    expected = {}
    for rows in range(1, 9):
        numbers, inputs = pair(rows)
        expected[str(rows)] = numbers
        callback = lambda result, error: answers.put((result, error))
        client.async_infer("pair", inputs, callback, request_id=str(rows))
    for _ in range(8):
        result, error = answers.get(timeout=60)
        assert error is None
        assert np.array_equal(result.as_numpy("numbers"), expected.pop(result.get_response().id))
    assert not expected


def test_asyncio(server):
    async def ask():
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_ready()
            calls = [client.infer("pair", pair(rows)[1]) for rows in range(1, 9)]
            for rows, result in zip(range(1, 9), await asyncio.gather(*calls)):
                assert np.array_equal(result.as_numpy("numbers"), pair(rows)[0])

            async def requests():
                for rows in range(1, 4):
                    yield {"model_name": "pair", "inputs": pair(rows)[1], "request_id": str(rows)}

            ids = set()
            async for result, error in client.stream_infer(requests()):
                assert error is None
                ids.add(result.get_response().id)
            assert ids == {"1", "2", "3"}

    asyncio.run(ask())


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_compression(client, algorithm):
    numbers = np.arange(3000, dtype=np.float32).reshape(3, 1000)
    result = client.infer("types.float32", [tensor("x", "FP32", numbers)], compression_algorithm=algorithm)
    assert np.array_equal(result.as_numpy("y"), numbers)


def test_classification(client):
    scores = np.array([[0.1, 0.7, 0.2], [3.0, 1.0, 2.0]], np.float32)
    outputs = [InferRequestedOutput("y", class_count=2)]
    answered = client.infer("types.float32", [tensor("x", "FP32", scores)], outputs=outputs).as_numpy("y")
    assert [[cell.decode() for cell in row] for row in answered] == [
        ["0.700000:1", "0.200000:2"],
        ["3.000000:0", "2.000000:2"],
    ]


def test_statistics(client):
    def stats():
        (model,) = client.get_inference_statistics("types.int8").model_stats
        return model

    before = stats()
    rows = np.zeros((4, 2), np.int8)
    for _ in range(3):
        client.infer("types.int8", [tensor("x", "INT8", rows)])
    with pytest.raises(InferenceServerException):
        client.infer("types.int8", [tensor("x", "INT16", rows.astype(np.int16))])
    # A batch is counted when its calls have been answered.
    eventually(lambda: stats().execution_count >= before.execution_count + 3)
    after = stats()
    assert after.inference_count == before.inference_count + 12
    assert after.inference_stats.success.count == before.inference_stats.success.count + 3
    assert after.inference_stats.fail.count == before.inference_stats.fail.count + 1
    assert after.inference_stats.success.ns > 0 and after.last_inference > 0
    assert 4 in [batch.batch_size for batch in after.batch_stats]
    names = [model.name for model in client.get_inference_statistics().model_stats]
    assert "pair" in names and "types.int8" in names


@pytest.mark.parametrize(
    "model, inputs, status, message",
    [
        ("pare", [], "NOT_FOUND", 'there is no model "pare"; did you mean "pair"'),
        ("pair", [], "INVALID_ARGUMENT", 'inputs "numbers", "texts" are missing'),
        ("types.int8", [tensor("z", "INT8", np.zeros((1, 1), np.int8))], "INVALID_ARGUMENT", 'there is no input "z"'),
        (
            "types.int8",
            [tensor("x", "FP32", np.zeros((1, 1), np.float32))],
            "INVALID_ARGUMENT",
            "expected datatype INT8, found FP32",
        ),
        ("types.int8", [tensor("x", "INT8", np.zeros(1, np.int8))], "INVALID_ARGUMENT", "rank 2, found rank 1"),
        ("types.fail", [tensor("how", "BYTES", texts(b"invalid"))], "INVALID_ARGUMENT", "nobody can answer that"),
        ("types.fail", [tensor("how", "BYTES", texts(b"failed"))], "INTERNAL", "it went wrong"),
    ],
)
def test_errors(client, model, inputs, status, message):
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, inputs)
    assert raised.value.status() == f"StatusCode.{status}" and message in raised.value.message()


def test_what_does_not_work_is_refused(client):
    with pytest.raises(InferenceServerException, match="sequences are not supported"):
        client.infer("pair", pair(1)[1], sequence_id=7, sequence_start=True)
    shared = InferInput("x", [1, 1], "INT8")
    shared.set_shared_memory("region", 1)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("types.int8", [shared])
    with pytest.raises(InferenceServerException, match="extensions that work") as raised:
        client.get_system_shared_memory_status()
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


class Slow:
    """Keeps the executor of the types busy, so that others wait."""

    def __init__(self, client, millis):
        self.answers = queue.Queue()
        callback = lambda result, error: self.answers.put((result, error))
        self.millis = millis
        client.async_infer("types.slow", milliseconds(millis), callback)
        # It may come after calls that are made after it.
        with pytest.raises(InferenceServerException, match="deadline|would take"):
            while self.answers.empty():
                client.infer("types.text", word(b"probe"), timeout=20_000)

    def answer(self):
        result, error = self.answers.get(timeout=60)
        assert error is None and result.as_numpy("y")[0] == self.millis


def test_deadlines(client):
    slow = Slow(client, 600)
    for arguments in [{"timeout": 50_000}, {"client_timeout": 0.1}]:
        with pytest.raises(InferenceServerException) as raised:
            client.infer("types.text", word(b"late"), **arguments)
        assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    slow.answer()


def await_waiting(server, method, rows):
    """Until so many rows wait for a method of the types."""

    def waiting():
        with urllib.request.urlopen(f"http://{server.http}/v1/runners/types") as answer:
            methods = {about["name"]: about for about in json.load(answer)["methods"]}
        return methods[method]["queued_rows"]

    eventually(lambda: waiting() == rows)


def test_cancellation(client, server):
    """Who cancels while the call waits costs no run."""
    runs, fails = counted(client, "types.json")
    slow = Slow(client, 1000)
    answers = queue.Queue()
    call = client.async_infer("types.json", word(b"1"), lambda result, error: answers.put(error))
    await_waiting(server, "json", 1)
    call.cancel()
    assert "CANCELLED" in answers.get(timeout=60).status()
    slow.answer()
    eventually(lambda: counted(client, "types.json") != (runs, fails))
    assert counted(client, "types.json") == (runs, fails + 1)


def test_stream(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("types.slow", milliseconds(300), request_id="slow")
    client.async_stream_infer("pair", pair(2)[1], request_id="fast")
    client.async_stream_infer("pare", [], request_id="lost")
    found = {}
    for _ in range(3):
        result, error = answers.get(timeout=60)
        found[result.get_response().id if result else error.message()] = result
    lost = next(message for message in found if message.startswith("there is no model"))
    # In the order in which they are done.
    assert set(found) == {"slow", "fast", lost} and list(found)[-1] == "slow"
    assert np.array_equal(found["fast"].as_numpy("numbers"), pair(2)[0])
    for index in range(20):
        client.async_stream_infer("types.text", word(str(index).encode()), request_id=str(index))
    client.stop_stream()
    ids = {answers.get(timeout=60)[0].get_response().id for _ in range(20)}
    assert ids == {str(index) for index in range(20)} and answers.empty()


def test_stream_cancellation(client, server):
    runs, fails = counted(client, "types.json")
    slow = Slow(client, 1000)
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error))
    for _ in range(3):
        client.async_stream_infer("types.json", word(b"1"))
    await_waiting(server, "json", 3)
    client.stop_stream(cancel_requests=True)
    assert "CANCELLED" in answers.get(timeout=60).status()
    slow.answer()
    eventually(lambda: counted(client, "types.json")[1] >= fails + 3)
    assert counted(client, "types.json") == (runs, fails + 3)


def test_many_answers(client):
    """A method that streams has any number of them."""
    assert client.get_model_config("types.count").config.model_transaction_policy.decoupled
    with pytest.raises(InferenceServerException, match="ModelStreamInfer"):
        client.infer("types.count", milliseconds(3))
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))

    def ask(number, **arguments):
        client.async_stream_infer("types.count", milliseconds(number), request_id=str(number), **arguments)

    def next():
        result, error = answers.get(timeout=60)
        if error:
            return error.message()
        assert result.get_response().id
        last = result.get_response().parameters["triton_final_response"].bool_param
        number = result.as_numpy("y")
        return (None if number is None else int(number[0])), last

    ask(3)
    assert [next() for _ in range(3)] == [(0, False), (1, False), (2, False)]
    ask(2, enable_empty_final_response=True)
    assert [next() for _ in range(3)] == [(0, False), (1, False), (None, True)]
    ask(2000)
    assert [next() for _ in range(1001)] == [(number, False) for number in range(1000)] + ["a thousand is enough"]
    client.stop_stream()
    assert answers.empty()


def test_stream_deadline(client):
    slow = Slow(client, 800)
    ended = threading.Event()
    answers = []
    client.start_stream(lambda result, error: (answers.append(error), ended.set()), stream_timeout=0.2)
    client.async_stream_infer("types.text", word(b"late"))
    assert ended.wait(60)
    assert "deadline" in answers[0].message().lower()
    client.stop_stream(cancel_requests=True)
    slow.answer()


def test_repository(client):
    states = {model.name: model.state for model in client.get_model_repository_index().models}
    assert states["pair"] == "READY" and "types.bool" in states
    for order in [client.load_model, client.unload_model]:
        with pytest.raises(InferenceServerException, match="admin listener") as raised:
            order("pair")
        assert raised.value.status() == "StatusCode.PERMISSION_DENIED"
