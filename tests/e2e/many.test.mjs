// Many posts as a visitor gives them: tables, folders, pictures; what is wrong in them; and a page that stays free.
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { DIST, answer, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

/** The page's thread must answer a key or a click at once, also while the worker works. */
const LONGEST_TASK = 50;
const POSTS = 10_000;
const WORDS = ["red apple", "acoustic guitar", "slice of pizza", "cup of coffee", "a steam locomotive", "thunderstorm"];

let browser, server, opened, page, folder;
const drawing = (name) => readFile(`${DIST}/samples/${name}.png`);
const file = (name, mimeType, words) => ({ name, mimeType, buffer: Buffer.from(words) });
const csv = (words, name = "posts.csv") => file(name, "text/csv", words);
const picture = async (name) => ({ name: `${name}.png`, mimeType: "image/png", buffer: await drawing(name) });

before(async () => {
  browser = await launch();
  server = await serve(DIST);
  folder = await mkdtemp(join(tmpdir(), "lacuna-many-"));
  await mkdir(`${folder}/mine/images`, { recursive: true });
  await cp(`${DIST}/samples/apple.png`, `${folder}/mine/images/7.png`);
  await cp(`${DIST}/samples/car.png`, `${folder}/mine/images/car.png`);
  const lines = [
    { id: "7", text: "red apple", split: "test" },
    { id: 8, image: "images/car.png" },
    { text: "a glass of milk", extra: [1] },
    { id: "10", image: 7 },
  ];
  const table = lines.map((line) => JSON.stringify(line)).join("\n");
  await writeFile(`${folder}/mine/data.jsonl`, `${table}\nno json\n[1]\n{"id": "12", "text": "  "}\n`);
  await mkdir(`${folder}/pictures/more`, { recursive: true });
  for (const [from, to] of [["cat", "cat"], ["tree", "more/tree"]]) {
    await cp(`${DIST}/samples/${from}.png`, `${folder}/pictures/${to}.png`);
  }
  await writeFile(`${folder}/pictures/notes.txt`, "not a picture");
  const many = Array.from({ length: POSTS }, (_, i) => `${i},"${WORDS[i % WORDS.length]}, number ${i}"`);
  await writeFile(`${folder}/many.csv`, `id,text\n${many.join("\n")}\n`);
  opened = await open(browser, `${server.url}#many`);
  page = opened.page;
  await ready(page);
});
after(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

describe("what is given", () => {
  test("a table with pictures, chosen together: all cases, bad lines, labels and accuracy", async () => {
    const table = csv(
      "\ufeffid,image,text,label,price\r\n" +
        'a,apple.png,"red, ""ripe"" apple",LABEL,1\r\n' +
        "b,images/guitar.png,,LABEL,2\r\n" +
        'c,,"slice\nof pizza",no class at all,3\r\n' +
        "d,gone.png,cup of coffee,,4\r\n" +
        "e,,  ,,5\r\n" +
        "f,,too,many,6,fields\r\n" +
        "g,broken.png,,,7\r\n" +
        "=1+1,,@thunderstorm,,8\r\n",
    );
    const broken = { name: "broken.png", mimeType: "image/png", buffer: (await drawing("tree")).subarray(0, 500) };
    await page.locator("#many-files").setInputFiles([table, broken, await picture("apple"), await picture("guitar")]);
    const { rows, cases, classes, accuracy, status } = await done();
    assert.deepEqual(rows.map((row) => row[1]), ["a", "b", "c", "d", "e", "8", "g", "=1+1"]);
    assert.deepEqual([0, 1, 2].map((row) => rows[row][4]), ["Both", "Image", "Text"]);
    for (const row of [0, 1, 2, 7]) assert.match(rows[row][6], /%$/);
    assert.match(rows[3][4], /^posts\.csv, line 6: the picture “gone\.png” \(field “image”\) is not among the files/);
    assert.match(rows[4][4], /^posts\.csv, line 7: there is neither an image nor a text/);
    assert.match(rows[5][4], /^posts\.csv, line 8: the number of fields is 6, but the header has 5/);
    assert.match(rows[6][4], /^Image: /);
    assert.match(cases, /^4 posts are classified: 1 with image and text, 1 with an image only, 2 with a text only; 4 could not be/);
    assert.match(classes, /^Most frequent: /);
    assert.match(accuracy, /^3 posts have labels that the model does not know/);
    assert.ok(status.startsWith(cases), "the end is announced");
    assert.ok(await page.locator("#notice").isHidden());

    // The answers as labels: one of the three is made wrong.
    const names = await page.locator("#many-filter option").evaluateAll((all) => all.slice(3).map((one) => one.textContent.slice(7)));
    const wrong = names.find((name) => name !== rows[2][5]);
    const labels = [rows[0][5], rows[1][5], wrong].map((name) => name.toLowerCase().replaceAll(" ", "_"));
    const again = `text,label,image\nred apple,${labels[0]},apple.png\n,${labels[1]},guitar.png\nslice of pizza,${labels[2]},\n`;
    await page.locator("#many-files").setInputFiles([csv(again), await picture("apple"), await picture("guitar")]);
    const judged = await done();
    assert.match(judged.accuracy, /^Right on 2 of 3 labelled posts \(67 %\): 100 % with both sides, 100 % from the image alone, 0 % from the text alone/);
    assert.ok(judged.rows[2][7].endsWith("wrong") && judged.rows[0][7].endsWith("right"));
    await page.locator("#many-filter").selectOption("wrong");
    assert.deepEqual((await shown()).map((row) => row[0]), ["3"]);
    assert.equal(await page.locator("#many-caption").textContent(), "Posts 1 to 1 of 1");
  });

  test("a folder with data.jsonl: pictures by path and by id, and errors with file, line and field", async () => {
    await page.locator("#many-folder").setInputFiles(`${folder}/mine`);
    await holdsMine();
  });

  test("a folder without a table: every picture is a post", async () => {
    await page.locator("#many-folder").setInputFiles(`${folder}/pictures`);
    const { rows, cases } = await done();
    assert.deepEqual(rows.map((row) => [row[2], row[4]]), [["cat.png", "Image"], ["tree.png", "Image"]]);
    assert.match(cases, /^2 posts are classified: 2 with an image only$/);
    assert.equal(await page.locator("#many-rows td.many-image").nth(1).getAttribute("title"), "pictures/more/tree.png");
  });

  for (const [what, given, sentence] of [
    ["a table of other things", () => csv("name,price\nsoup,3\n"), /“posts.csv” is no table of posts.*first line/s],
    ["a table without posts", () => csv("id,text\n"), /“posts.csv” has no post in it/],
    ["neither a table nor a picture", () => file("letter.txt", "text/plain", "Dear reader"), /no post in what was given.*Give pictures/s],
  ]) {
    test(`${what} is refused with a sentence`, async () => {
      await page.locator("#many-files").setInputFiles(given());
      await page.waitForSelector("#notice:not([hidden])");
      assert.match(await page.locator("#notice").innerText(), sentence);
      assert.ok(await page.locator("#many-run").isHidden());
    });
  }
});

describe("what is dropped", () => {
  test("a table, several pictures and a folder lead here from the other view; a single picture does not", async () => {
    await view("post");
    await drop([{ name: "posts.csv", type: "text/csv", bytes: [...Buffer.from("text\nred apple\n")] }]);
    await page.waitForSelector("#view-many:not([hidden])");
    assert.equal((await done()).rows.length, 1);
    await view("post");
    const pictures = await Promise.all(["cat", "tree"].map(async (name) => ({ name: `${name}.png`, type: "image/png", bytes: [...(await drawing(name))] })));
    await drop(pictures);
    await page.waitForSelector("#view-many:not([hidden])");
    assert.equal((await done()).rows.length, 2);
    await drop(pictures.slice(0, 1));
    await page.waitForFunction(() => document.querySelectorAll("#many-rows tr").length === 1);
    await done();
    await view("post");
    await drop(pictures.slice(0, 1));
    await answer(page, "Image only: the text is missing");
    assert.ok(await page.locator("#view-many").isHidden());

    const session = await page.context().newCDPSession(page);
    const data = { items: [], files: [`${folder}/mine`], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await session.send("Input.dispatchDragEvent", { type, x: 200, y: 300, data });
    }
    await page.waitForSelector("#view-many:not([hidden])");
    await holdsMine();
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-title");
  });
});

describe("many posts", () => {
  before(async () => {
    await view("many");
    await give();
  });

  test("the page stays free while they are classified, answers clicks, and can be stopped", async (t) => {
    const start = await page.evaluate(() => performance.now());
    assert.equal(await page.locator("#many-status").textContent(), "Classifying 10,000 posts.");
    await page.locator("#many-next").click();
    assert.equal(await page.locator("#many-page").textContent(), "Page 2 of 200");
    await page.locator("#many-last").click();
    assert.equal(await page.locator("#many-caption").textContent(), "Posts 9,951 to 10,000 of 10,000");
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-last", "the focus stays");
    await page.locator("#many-first").click();

    // The other view answers meanwhile.
    await view("post");
    await page.locator("#text").fill("a bowl of soup");
    const { time } = await answer(page, "Image and text");
    t.diagnostic(`one post is answered meanwhile, in ${time}`);
    await view("many");

    await page.locator("#many-stop").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("#many-summary:not([hidden])");
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-resume");
    const kept = await counted();
    assert.ok(kept > 0 && kept < POSTS, `${kept} are kept`);
    await page.waitForTimeout(500);
    assert.equal(await counted(), kept, "it has stopped");
    assert.match(await page.locator("#many-cases").textContent(), /were not reached/);

    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-stop");
    const { cases } = await done();
    const took = (await page.evaluate(() => performance.now())) - start;
    assert.match(cases, /^10,000 posts are classified: 10,000 with a text only$/);
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-save");
    // What blocks the page blocks it again and again; what another program of the machine takes away, it takes once.
    const tenths = Array.from({ length: 10 }, (_, i) => start + (took * i) / 10);
    const longest = await Promise.all(tenths.map((from) => blocked(from, from + took / 10)));
    t.diagnostic(`${POSTS} posts in ${(took / 1000).toFixed(1)} s; longest task by tenth: ${longest.join(", ")} ms (0: none over 50)`);
    assert.ok(longest.toSorted((a, b) => a - b)[5] <= LONGEST_TASK, `tasks of ${longest} ms`);
  });

  test("the answers are downloaded as a table that can be given again", async () => {
    const plain = await download();
    assert.deepEqual(plain[0], ["id", "image", "text", "case", "class", "probability", "failure"]);
    assert.equal(plain.length, POSTS + 1);
    assert.deepEqual(plain[1234].slice(0, 4), ["1233", "", `${WORDS[1233 % WORDS.length]}, number 1233`, "image_missing"]);

    await page.locator("#many-files").setInputFiles([csv('id,text,image\n=2+2,"-x ""y""",\n,,\nz,a,gone.png\n')]);
    await done();
    await page.locator("#many-every").check();
    const [header, formula, neither, gone] = await download();
    const classes = await page.locator("#many-filter option").count() - 2;
    assert.equal(header.length, 7 + classes);
    assert.deepEqual(formula.slice(0, 3), ["'=2+2", "", "'-x \"y\""]);
    const sum = formula.slice(7).reduce((sum, probability) => sum + Number(probability), 0);
    assert.ok(Math.abs(sum - 1) < 1e-4, `probabilities add up to ${sum}`);
    assert.equal(Math.max(...formula.slice(7).map(Number)), Number(formula[5]));
    assert.equal(header[7 + formula.slice(7).indexOf(formula[5])], formula[4]);
    assert.match(neither[6], /line 3: there is neither/);
    assert.match(gone[6], /line 4: the picture “gone.png”/);
    await page.locator("#many-clear").click();
    assert.ok(await page.locator("#many-run").isHidden());
    assert.equal(await page.evaluate(() => document.activeElement.id), "many-folder");
  });

  test("beginning, ending and saving do not block the page", async (t) => {
    const longest = { beginning: [], saving: [] };
    for (let round = 0; round < 3; round++) {
      const start = await page.evaluate(() => performance.now());
      await give();
      await page.locator("#many-stop").click();
      await page.waitForSelector("#many-summary:not([hidden])");
      const saved = await page.evaluate(() => performance.now());
      assert.equal((await download()).length, POSTS + 1);
      longest.beginning.push(await blocked(start, saved));
      longest.saving.push(await blocked(saved, Infinity));
    }
    t.diagnostic(`longest tasks by round, in ms (0: none over 50): ${JSON.stringify(longest)}`);
    for (const rounds of Object.values(longest)) assert.ok(Math.min(...rounds) <= LONGEST_TASK, `tasks of ${rounds} ms`);
  });

  test("nothing was fetched, and no error went to the console", async () => {
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
    assert.deepEqual(opened.errors, []);
  });
});

test("posts given before the model is there wait for it, also when it has to be started again", async () => {
  const own = await serve(DIST, { change: (path) => (/text.*safetensors$/.test(path) ? 404 : undefined) });
  const { page: early, context } = await open(browser, `${own.url}#many`);
  await early.waitForSelector("#notice:not([hidden])");
  await early.locator("#many-files").setInputFiles(csv("text\nred apple\ncup of coffee\n"));
  await early.waitForFunction(() => /not loaded/.test(document.querySelector("#many-figures").textContent));
  own.change = () => undefined;
  await early.locator("#notice-again").click();
  await early.waitForSelector("#many-summary:not([hidden])");
  assert.match(await early.locator("#many-cases").textContent(), /^2 posts are classified/);
  await context.close();
  await own.close();
});

/** Waits for the end and returns what the page shows then. */
async function done() {
  await page.waitForSelector("#many-summary:not([hidden])");
  const words = (id) => page.locator(id).textContent();
  return {
    rows: await shown(),
    cases: await words("#many-cases"),
    classes: await words("#many-classes"),
    accuracy: await words("#many-accuracy"),
    status: await words("#many-status"),
  };
}

/** The cells of the rows. */
function shown() {
  return page.evaluate(() => [...document.querySelectorAll("#many-rows tr")].map((row) => [...row.cells].map((cell) => cell.textContent)));
}

/** Gives a table of many posts without pictures. */
async function give() {
  await page.locator("#many-files").setInputFiles(`${folder}/many.csv`);
  await page.waitForSelector("#many-list:not([hidden])");
}

/** The longest task of the page's thread that began in this time, in milliseconds; 0 if there was none over 50. */
async function blocked(from, to) {
  const tasks = await page.evaluate(() => window.seen.tasks);
  return Math.max(0, ...tasks.filter(({ start }) => start > from && start < to).map(({ length }) => Math.round(length)));
}

/** How many posts are done. */
function counted() {
  return page.evaluate(() => document.querySelector("#many-bar").value);
}

function view(name) {
  return page.locator(`nav a[href="#${name}"]`).click();
}

/** The folder "mine" was classified. */
async function holdsMine() {
  const { rows, cases } = await done();
  assert.deepEqual(rows.map((row) => row[1]), ["7", "8", "3", "4", "5", "6", "12"]);
  assert.deepEqual(rows.slice(0, 3).map((row) => [row[2], row[4]]), [["7.png", "Both"], ["car.png", "Image"], ["", "Text"]]);
  const failures = rows.slice(3).map((row) => row[4]);
  assert.match(failures[0], /^data\.jsonl, line 4: the field “image” must be words/);
  assert.match(failures[1], /^data\.jsonl, line 5: this is no JSON/);
  assert.match(failures[2], /^data\.jsonl, line 6: a post is a JSON object/);
  assert.match(failures[3], /^data\.jsonl, line 7: there is neither/);
  assert.match(cases, /^3 posts are classified.*; 4 could not be$/);
}

/** Downloads the answers and reads them. */
async function download() {
  const [saved] = await Promise.all([page.waitForEvent("download"), page.locator("#many-save").click()]);
  assert.equal(saved.suggestedFilename(), "lacuna.csv");
  const words = await readFile(await saved.path(), "utf8");
  assert.ok(words.startsWith("\ufeff"));
  const rows = [[]];
  for (const [, quoted, plain, end] of words.slice(1).matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.slice(0, -1);
}

/** Drops files. */
function drop(files) {
  return page.evaluate((files) => {
    const data = new DataTransfer();
    for (const { bytes, name, type } of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
    document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, files);
}
