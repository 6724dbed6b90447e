"""Makes preprocess/ and tokens/: pictures as Pillow and texts as CLIP's reference tokeniser prepare them.

    pip install pillow numpy ftfy regex
    python tests/golden/make_preprocess.py

Run by hand when a case is added; the tests only read what it wrote. Pillow must decode with libjpeg-turbo and libwebp.
"""

import html
import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import ftfy
import numpy
import regex
from PIL import Image, ImageOps

HERE = Path(__file__).parent
SIDE = 24
MEAN = numpy.array([0.48145466, 0.4578275, 0.40821073], dtype=numpy.float32)
DEVIATION = numpy.array([0.26862954, 0.26130258, 0.27577711], dtype=numpy.float32)


# Pictures ------------------------------------------------------------------------------------------------------------

def picture(width, height, channels=3):
    """Waves and edges, a different one in each channel: what resampling gets wrong shows."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    planes = [
        127 + 120 * numpy.sin(x / 3 + y / 11),
        (x * 5 + y * 3) % 256,
        255 * ((x // 5 + y // 7) % 2),
        127 + 127 * numpy.cos((x - y) / 6),
    ]
    return numpy.stack(planes[:channels], axis=-1).clip(0, 255).astype(numpy.uint8)


def png(samples, bits, kind):
    """A PNG of any depth, which Pillow cannot write: kind 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if bits == 16 else "u1").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def pictures():
    """(file name, bytes, what Pillow should see instead of convert("RGB"), or None)."""
    rgb = Image.fromarray
    yield "wide.png", saved(rgb(picture(61, 40)), "PNG"), None
    yield "tall.png", saved(rgb(picture(33, 70)), "PNG"), None
    yield "square.png", saved(rgb(picture(50, 50)), "PNG"), None
    yield "very_wide.png", saved(rgb(picture(120, 27)), "PNG"), None
    yield "small.png", saved(rgb(picture(11, 9)), "PNG"), None
    yield "same_size.png", saved(rgb(picture(24, 24)), "PNG"), None
    grey = rgb(picture(45, 38)[..., 0])
    yield "grey.png", saved(grey, "PNG"), None
    yield "one_bit.png", saved(grey.convert("1"), "PNG"), None
    yield "grey_alpha.png", saved(rgb(picture(45, 38, 2)[..., [0, 1]], "LA"), "PNG"), None
    yield "rgba.png", saved(rgb(picture(45, 38, 4)), "PNG"), None
    palette = rgb(picture(45, 38)).quantize(32)
    yield "palette.png", saved(palette, "PNG"), None
    yield "palette_transparent.png", saved(palette, "PNG", transparency=3), None
    yield "interlaced_rgb_transparent.png", saved(rgb(picture(45, 38)), "PNG", transparency=(0, 0, 0)), None
    deep = picture(45, 38, 4).astype(numpy.uint32) * 257
    deep = (deep + numpy.arange(45)[None, :, None] * 7).clip(0, 65535).astype(numpy.uint16)
    # Pillow clips 16-bit grey at 255, which nobody can want; the reference is its high byte, as for colour.
    yield "grey_16.png", png(deep[..., 0], 16, 0), rgb((deep[..., 0] >> 8).astype(numpy.uint8))
    yield "grey_alpha_16.png", png(deep[..., [0, 3]], 16, 4), None
    yield "rgb_16.png", png(deep[..., :3], 16, 2), None
    yield "rgba_16.png", png(deep, 16, 6), None
    photo = rgb(picture(61, 43))
    for sampling, name in enumerate(["444", "422", "420"]):
        yield f"{name}.jpg", saved(photo, "JPEG", quality=85, subsampling=sampling), None
    yield "progressive.jpg", saved(photo, "JPEG", quality=80, progressive=True), None
    yield "optimised_restart.jpg", saved(photo, "JPEG", optimize=True, restart_marker_blocks=3), None
    yield "grey.jpg", saved(photo.convert("L"), "JPEG"), None
    yield "rgb.jpg", saved(photo, "JPEG", keep_rgb=True), None
    yield "cmyk.jpg", saved(photo.convert("CMYK"), "JPEG"), None
    for orientation in range(1, 9):
        yield f"exif_{orientation}.jpg", saved(photo, "JPEG", exif=exif(orientation)), None
    yield "exif_6.png", saved(photo, "PNG", exif=exif(6)), None
    yield "exif_6.webp", saved(photo, "WEBP", exif=exif(6), lossless=True), None
    yield "lossy.webp", saved(photo, "WEBP", quality=70), None
    yield "lossless_alpha.webp", saved(rgb(picture(61, 43, 4)), "WEBP", lossless=True, exact=True), None
    yield "first_frame.gif", saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]), None
    yield "transparent.gif", saved(palette, "GIF", transparency=5), None


def prepared(image):
    """Shorter side to SIDE with Pillow's antialiased bicubic, then the centre, as Hugging Face crops it."""
    width, height = image.size
    if width <= height:
        size = SIDE, int(SIDE * height / width)
    else:
        size = int(SIDE * width / height), SIDE
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return image.crop((left, top, left + SIDE, top + SIDE))


def make_pictures():
    folder = HERE / "preprocess"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names, results = [], []
    for name, data, seen in pictures():
        (folder / name).write_bytes(data)
        image = (seen or ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).convert("RGB")
        names.append(name)
        results.append(numpy.asarray(prepared(image)))
    # One sheet, the cases below each other: a picture can be looked at when a case fails.
    Image.fromarray(numpy.concatenate(results)).save(folder / "expected_sheet.png", optimize=True)
    first = ((results[0].astype(numpy.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)
    cases = {"side": SIDE, "files": names, "first_pixels": [float(v) for v in first.reshape(-1)[::97]]}
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


# Texts ---------------------------------------------------------------------------------------------------------------

def byte_letters():
    """The letters that stand for bytes: printable ones for themselves, the others from U+0100 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(others)}


LETTERS = byte_letters()
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


def spelled(word):
    letters = [LETTERS[byte] for byte in word.encode()]
    return letters[:-1] + [letters[-1] + "</w>"]


def joined(parts, pair):
    out = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


class Reference:
    """CLIP's tokeniser as its paper's code defines it."""

    def __init__(self, merges):
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        order = sorted(LETTERS, key=lambda byte: (LETTERS[byte] != chr(byte), LETTERS[byte]))
        single = [LETTERS[byte] for byte in order]
        names = single + [letter + "</w>" for letter in single] + ["".join(pair) for pair in merges] + [START, END]
        self.ids = {name: i for i, name in enumerate(names)}

    def parts(self, word):
        if word in (START, END):
            return [word]
        parts = spelled(word)
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            parts = joined(parts, best)
        return parts

    def encode(self, text, context):
        ids = [self.ids[START]]
        for word in regex.findall(WORDS, clean(text)):
            ids += [self.ids[part] for part in self.parts(word)]
        ids.append(self.ids[END])
        return ids if len(ids) <= context else ids[: context - 1] + [self.ids[END]]


def learnt(texts, count):
    """A small vocabulary of our own: the most frequent pairs, one after the other."""
    words = [spelled(word) for text in texts for word in regex.findall(WORDS, clean(text)) if word not in (START, END)]
    merges = []
    for _ in range(count):
        counts = {}
        for parts in words:
            for pair in zip(parts, parts[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = max(sorted(counts), key=counts.get)
        merges.append(best)
        words = [joined(parts, best) for parts in words]
    return merges


TEXTS = [
    "",
    " \t\n ",
    "a red fox in the snow",
    "A Red FOX,  in\nthe\u00a0snow!",
    "I'm sure they'd say it's what we've done; don't you'LL",
    "In 2024, 12345 people ate 3.5 pizzas for €20",
    "Crème brûlée, naïve café, Ünïcödé ñandú, Straße, İstanbul, ΣΊΣΥΦΟΣ",
    "日本語のテキスト 한국어 עברית العربية Привет",
    "pizza 🍕 and 👩‍🍳 flags 🇩🇪 ❤️ 😀😀",
    "Tom &amp; Jerry &lt;3 &amp;eacute;t&eacute; &#39;quoted&#39; &hearts; &NTILDE; AT&T &notit;",
    "<b>caf&eacute;</b> &amp;amp; more",
    "schÃ¶n und grÃ¼n, fiancÃƒÂ©e, itâ€™s â€œfineâ€\x9d ðŸ˜€",
    "voilÃ  le travail \x85 \x93quoted\x94",
    "“curly” ‘quotes’ ﬁne ﬂow ＦＵＬＬ　ＷＩＤＴＨ ｶﾀｶﾅ",
    "zero\u200bwidth soft\u00adhyphen \ufeffbom \x1b[31mred\x1b[0m bell\x07",
    "e\u0301 A\u030a decomposed",
    "!!! ??? ... :-) ¯\\_(ツ)_/¯ #hashtag @name http://example.org/a?b=c&d=e",
    "half <|endoftext|> and <|startoftext|> inside",
    " ".join(f"word{i} of many" for i in range(70)),
    "supercalifragilisticexpialidocious" * 8,
]


def make_tokens():
    folder = HERE / "tokens"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    merges = learnt(TEXTS, 256)
    reference = Reference(merges)
    (folder / "vocab.json").write_text(json.dumps(reference.ids, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    cases = [{"text": t, "clean": clean(t), "ids": reference.encode(t, 77)} for t in TEXTS]
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=True, indent=1) + "\n")


if __name__ == "__main__":
    make_pictures()
    make_tokens()
