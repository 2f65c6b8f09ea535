"""Render the book's own data set: 3,755 Chinese characters, 32 x 32 gray levels.

    python tools/make_hanzi.py --font …/NotoSansCJK-Regular.ttc --out kexue/data_files/hanzi32.npz

Which characters: level 1 of the national standard GB 2312-80, rows 16 to 55 of the code table,
which holds the 3,755 most used ones in the order of their pronunciation; they are read off
Python's own ``gb2312`` codec, so no list is copied.

How: Noto Sans CJK SC Regular, drawn once by FreeType with antialiasing. The em square is 30 pixels
in a field of 32, the same for every character, so that a small character stays small and nothing
touches the border; each character sits in its em square as the type designer placed it (advance
1000, ascent 880, descent 120 units). White ink (255) on black (0), rounded to 16 levels: the eye
sees no difference and the file halves.

License: Noto CJK is under the SIL Open Font License 1.1, which says: "The requirement for fonts to
remain under this license does not apply to any document created using the fonts or their
derivatives." (read in /usr/share/doc/fonts-noto-cjk/copyright of Debian's fonts-noto-cjk).

Arrays in the file: ``images`` uint8 (N, 32, 32), ``codepoints`` int32 (N,), ``test`` bool (N,),
``meta`` a JSON string. numpy.load reads it (the members are LZMA-compressed).
"""

import argparse
import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np

SIZE, EM, LEVELS = 32, 30, 16
ASCENT, DESCENT = (
    0.88,
    0.12,
)  # of the em: sTypoAscender and sTypoDescender
FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
HELD_OUT = 10  # one character in ten


def level_one() -> list[str]:
    """The 3,755 characters of GB 2312 level 1: rows 16..54 full, row 55 up to cell 89."""
    cells = [(row, cell) for row in range(16, 56) for cell in range(1, 95)]
    cells = [(row, cell) for row, cell in cells if not (row == 55 and cell > 89)]
    return [bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312") for row, cell in cells]


def simplified_face(path: str):
    """The collection's face for simplified Chinese (regions draw some characters differently)."""
    from PIL import ImageFont

    for index in range(16):
        # BASIC: no text shaping engine in between, so the result depends on FreeType alone.
        face = ImageFont.truetype(path, EM, index=index, layout_engine=ImageFont.Layout.BASIC)
        if face.getname()[0] == "Noto Sans CJK SC":
            return face
    raise ValueError(f"font: {path} has no face 'Noto Sans CJK SC'")


def render(characters: list[str], font: str = FONT) -> np.ndarray:
    """Draw every character: uint8 (N, 32, 32). Raises if ink would be clipped."""
    from PIL import Image, ImageDraw

    face, pad = simplified_face(font), 8
    left = pad + (SIZE - EM) / 2
    baseline = pad + SIZE / 2 + EM * (ASCENT - (ASCENT + DESCENT) / 2)
    images = []
    for character in characters:
        assert face.getlength(character) == EM, f"{character}: not as wide as the em"
        canvas = Image.new("L", (SIZE + 2 * pad, SIZE + 2 * pad))
        ImageDraw.Draw(canvas).text((left, baseline), character, fill=255, font=face, anchor="ls")
        images.append(np.asarray(canvas))
    images = np.stack(images)
    inside = images[:, pad:-pad, pad:-pad]
    if inside.sum(dtype=int) != images.sum(dtype=int):
        raise ValueError("clipped ink: the em square is too large for the field")
    step = 255 // (LEVELS - 1)
    return (np.round(inside / step) * step).astype(np.uint8)


def held_out(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """A fixed split, stratified by the amount of ink (the number of strokes, roughly).

    The characters are sorted by ink and cut into tens; one of each ten is held out. Sparse and
    dense characters therefore have the same shares in both parts.
    """
    order = np.argsort(images.sum((1, 2), dtype=int), kind="stable")
    rng, test = np.random.default_rng(seed), np.zeros(len(images), bool)
    for start in range(0, len(order) - HELD_OUT + 1, HELD_OUT):
        test[order[start + rng.integers(HELD_OUT)]] = True
    return test


def save(path: Path, **arrays) -> None:
    """Write an npz whose bytes depend on the arrays alone: LZMA members, no time stamps."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980-01-01
            info.compress_type = zipfile.ZIP_LZMA
            archive.writestr(info, member.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", default=FONT)
    parser.add_argument("--out", type=Path, default=Path("kexue/data_files/hanzi32.npz"))
    args = parser.parse_args()
    characters = level_one()
    images = render(characters, args.font)
    test = held_out(images)
    meta = {
        "name": "hanzi",
        "what": "the 3,755 characters of GB 2312 level 1, 32 x 32 gray levels, white on black",
        "font": "Noto Sans CJK SC Regular, em square of 30 pixels",
        "font_sha256": sha256(Path(args.font).read_bytes()).hexdigest(),
        "font_license": "SIL OFL 1.1, which does not extend to documents made with the font",
        "source": "tools/make_hanzi.py with Debian's fonts-noto-cjk 1:20220127+repack1-1",
        "upstream": "https://github.com/googlefonts/noto-cjk",
        "levels": LEVELS,
        "split": "one character of every ten, sorted by amount of ink, is held out (seed 0)",
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(
        args.out,
        images=images,
        codepoints=np.array([ord(c) for c in characters], np.int32),
        test=test,
        meta=json.dumps(meta),
    )
    print(f"{args.out}: {images.shape}, {test.sum()} held out, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
