// Giving up: before and while loading, waiting and answered posts, batches, and the classifier itself.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { APPLE, openPlain, plain } from "./pages.mjs";

export function givingUp() {
  let page, context, errors;
  before(async () => {
    ({ page, context, errors } = await openPlain());
  });
  after(() => context?.close());

  test("before loading: nothing is asked for", async () => {
    plain.requests.length = 0;
    const failure = await page.evaluate(() => plainly(Classifier.load("bundle/", { signal: AbortSignal.abort() })));
    assert.equal(failure.name, "AbortError");
    assert.deepEqual(plain.requests, []);
  });

  test("while loading: the worker ends, and nothing more is asked for", async () => {
    let slow;
    const waiting = new Promise((reached) => (slow = reached));
    plain.change = (path) => (path.endsWith("tokenizer.json") ? new Promise((answer) => (slow(), setTimeout(answer, 500, undefined))) : undefined);
    const failure = page.evaluate(() => {
      window.given = new AbortController();
      return plainly(Classifier.load("bundle/", { signal: given.signal }));
    });
    await waiting;
    assert.equal(page.workers().length, 1);
    const ended = page.workers()[0].waitForEvent("close");
    await page.evaluate(() => given.abort());
    assert.equal((await failure).name, "AbortError");
    await ended;
    await page.waitForTimeout(600);
    plain.change = () => undefined;
    // The file after the one that is awaited may have been asked for ahead.
    assert.ok(!plain.requests.some((path) => /image-00|text-00/.test(path)), plain.requests.join());
  });

  test("one that waits is never sent, one that is being answered loses its listener, the others have their answers", async () => {
    const { one, two, apple, late, sent } = await page.evaluate(async () => {
      window.c = await Classifier.load("bundle/");
      const [first, second] = [new AbortController(), new AbortController()];
      const sent = [];
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message, ...rest) {
        postMessage.call(this, message, ...rest);
        sent.push(message.text);
        if (message.text === "one") queueMicrotask(() => first.abort());
      };
      const started = [
        c.classify({ text: "one" }, { signal: first.signal }),
        c.classify({ text: "two" }, { signal: second.signal }),
        c.classify({ text: "red apple" }),
      ].map(plainly);
      second.abort(new Error("for a reason"));
      const [one, two, apple] = await Promise.all(started);
      const late = await plainly(c.classify({ text: "three" }, { signal: AbortSignal.abort() }));
      Worker.prototype.postMessage = postMessage;
      return { one, two, apple, late, sent };
    });
    assert.equal(one.name, "AbortError");
    assert.equal(two.message, "for a reason", "the signal's own reason");
    assert.equal(apple.value.label, APPLE);
    assert.equal(late.name, "AbortError");
    assert.deepEqual(sent, ["one", "red apple"]);
  });

  test("a batch is given up in the middle", async () => {
    const [batch, after] = await page.evaluate(async () => {
      const given = new AbortController();
      const onProgress = ({ done }) => done === 3 && given.abort();
      const batch = await plainly(c.classifyBatch(Array(50).fill({ text: "cat" }), { signal: given.signal, onProgress }));
      return [batch, await plainly(c.classify({ text: "cat" }))];
    });
    assert.equal(batch.name, "AbortError");
    assert.equal(after.value.case, "image_missing");
  });

  test("dispose rejects what waits and what comes, and ends the worker", async () => {
    assert.equal(page.workers().length, 1);
    const ended = page.workers()[0].waitForEvent("close");
    const failures = await page.evaluate(async () => {
      const started = [c.classify({ text: "one" }), c.classify({ text: "two" }), c.classifyBatch([{ text: "three" }])].map(plainly);
      c[Symbol.dispose]();
      c.dispose();
      return [...(await Promise.all(started)), await plainly(c.classify({ text: "four" }))];
    });
    for (const { name, code, message, hint } of failures) {
      assert.deepEqual([name, code], ["ClassifierError", "disposed"], message);
      assert.match(hint, /Classifier\.load/);
    }
    await ended;
    assert.deepEqual(errors, []);
  });
}
