// The npm package as others use it: installed from its packed file, bundled and not, in a real Chromium.
import { after, before, describe } from "node:test";

import { failing } from "./failing.mjs";
import { givingUp } from "./giving-up.mjs";
import { packed } from "./packed.mjs";
import { start, stop } from "./pages.mjs";
import { posts } from "./posts.mjs";
import { where } from "./where.mjs";

before(start);
after(stop);

describe("where it runs", where);
describe("posts", posts);
describe("giving up", givingUp);
describe("when it fails", failing);
describe("what is packed", packed);
