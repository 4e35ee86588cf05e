"""Opens the page in front in headless Chromium, tries a call on it, and saves what it looks like.

    python page.py URL [SCREENSHOT.png]

Fails if the answer does not appear, if anything is asked of another host, or if the console has an error. Chromium is the
one of the system, or $CHROMIUM.
"""

import io
import os
import re
import shutil
import sys
from urllib.parse import urlsplit

import numpy
from playwright.sync_api import expect, sync_playwright

RUNNER, METHOD = "iris_clf", "predict"


def main(url: str, screenshot: str | None) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    errors, strangers = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1900})
        page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: strangers.append(request.url) if is_strange(request.url, url) else None)
        page.goto(url)

        expect(page.locator(".info .title")).to_contain_text("Ekiden")
        expect(page).to_have_title("Ekiden")
        path = page.locator(f'[data-path="/v1/runners/{RUNNER}/{METHOD}"]')
        operation = page.locator(".opblock-post", has=path)
        operation.locator(".opblock-summary").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table")
        expect(answer.locator(".response-col_status").last).to_contain_text("200")
        numbers = re.findall(r"\d\.\d+", answer.locator(".response-col_description pre").first.inner_text())
        probabilities = [float(number) for number in numbers[:1]]
        assert probabilities and probabilities[0] > 0.9, f"these are no probabilities: {numbers}"
        if screenshot:
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=screenshot)

        # The same as a file of NumPy's.
        operation.get_by_label("Request content type").select_option("application/x-npy")
        operation.locator('input[type="file"]').set_input_files({
            "name": "flowers.npy", "mimeType": "application/x-npy", "buffer": npy()
        })
        with page.expect_response(lambda response: response.request.method == "POST") as sent:
            operation.get_by_role("button", name="Execute").click()
        assert sent.value.status == 200, sent.value.text()
        assert sent.value.request.headers["content-type"] == "application/x-npy"
        browser.close()
    assert not strangers, f"the page asks others: {strangers}"
    assert not errors, f"the console says: {errors}"
    print(f"the page shows {METHOD}, and its answer of {len(numbers)} numbers")


def npy() -> bytes:
    file = io.BytesIO()
    numpy.save(file, numpy.array([[5.1, 3.5, 1.4, 0.2]], dtype="float32"))
    return file.getvalue()


def is_strange(asked: str, url: str) -> bool:
    parts = urlsplit(asked)
    return parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(url).netloc


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
