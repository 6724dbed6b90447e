// The camera: a photo becomes the post's picture, it can be left alone, and a refusal gets a sentence.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { DIST, answer, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

let browser, server;
before(async () => {
  // Chromium's own test picture in place of a camera.
  browser = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]);
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

test("a photo is taken and classified, and the camera is let go", async () => {
  const { page, context, errors } = await open(browser, server.url, { permissions: ["camera"] });
  await ready(page);
  await page.locator("#camera-open").click();
  await page.waitForFunction(() => document.querySelector("#camera-view").videoWidth > 0);
  const track = await page.evaluateHandle(() => document.querySelector("#camera-view").srcObject.getTracks()[0]);
  await page.locator("#camera-take").click();
  await answer(page, "Image only: the text is missing");
  assert.equal(await page.locator("#image-name").textContent(), "Photo");
  assert.ok(await page.locator("#camera").isHidden());
  assert.equal(await track.evaluate((track) => track.readyState), "ended");

  await page.locator("#camera-open").click();
  await page.waitForFunction(() => document.querySelector("#camera-view").videoWidth > 0);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelector("#camera-view").srcObject === null);
  assert.equal(await page.evaluate(() => document.activeElement.id), "camera-open", "the focus is back");
  assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
  assert.deepEqual(errors, []);
  await context.close();
});

test("a camera that may not be used gets a sentence", async () => {
  const { page, context } = await open(browser, server.url, {
    prepare: (page) =>
      page.addInitScript(() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
      }),
  });
  await ready(page);
  await page.locator("#camera-open").click();
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await page.locator("#notice").innerText(), /There is no photo.*choose a picture/s);
  await context.close();
});
