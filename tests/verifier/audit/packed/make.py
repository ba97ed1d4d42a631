"""Packs program.py in every way that is unpacked: `python3 make.py`, with the package brotli installed.

The outputs are committed, so that the reader is tested against Python's own encoders and not against ours.
"""

import base64
import gzip
import lzma
import pathlib
import zlib

import brotli

HERE = pathlib.Path(__file__).parent
PROGRAM = (HERE / "program.py").read_bytes()
RAW = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def b85(data):
    return base64.b85encode(data).decode()


def pieces(text, width=60):
    return [text[i:i + width] for i in range(0, len(text), width)]


xz = b85(lzma.compress(PROGRAM))
raw = b85(lzma.compress(PROGRAM, format=lzma.FORMAT_RAW, filters=RAW))
twice = f'import zlib as z,base64 as b\nexec(z.decompress(b.b85decode("{b85(zlib.compress(PROGRAM))}")))\n'

SCRIPTS = {
    "xz_one_line.py": f'import lzma as L,base64 as B;exec(L.decompress(B.b85decode("{xz}")))\n',
    "xz_nine.py": "import lzma,base64\nexec(lzma.decompress(base64.b85decode("
                  f'b"{b85(lzma.compress(PROGRAM, preset=9 | lzma.PRESET_EXTREME))}")).decode())\n',
    "xz_compile.py": f"import lzma,base64\nexec(compile(lzma.decompress(base64.b85decode('{xz}')),'train_gpt.py','exec'))\n",
    "raw_lzma2.py": "__wrapper_size__=1234\nimport os\nos.environ.setdefault('SEED','42')\nimport lzma as L,base64 as B\n"
                    f'exec(L.decompress(B.b85decode(b"{raw}"),format=L.FORMAT_RAW,filters=[{{"id":L.FILTER_LZMA2}}]).decode("utf-8"))\n',
    "alone.py": f'import lzma,base64\nexec(lzma.decompress(base64.b85decode("{b85(lzma.compress(PROGRAM, format=lzma.FORMAT_ALONE))}")))\n',
    "zlib_base85.py": f'import zlib,base64\nexec(zlib.decompress(base64.b85decode("{b85(zlib.compress(PROGRAM, 9))}")))\n',
    "deflate_base64.py": f'import zlib,base64\nexec(zlib.decompress(base64.b64decode("{base64.b64encode(zlib.compress(PROGRAM, 9)[2:-4]).decode()}"),-15))\n',
    "gzip_ascii85.py": f"import gzip,base64\nexec(gzip.decompress(base64.a85decode(r'''{base64.a85encode(gzip.compress(PROGRAM, mtime=0)).decode()}''')))\n",
    "brotli_base85.py": f'import brotli,base64\nexec(brotli.decompress(base64.b85decode("{b85(brotli.compress(PROGRAM))}")))\n',
    "concatenated.py": "import lzma,base64\nexec(lzma.decompress(base64.b85decode(\n" + "".join(f'    "{p}"\n' for p in pieces(xz)) + ")))\n",
    "joined_list.py": "import lzma,base64\nP = [\n" + "".join(f'    "{p}",\n' for p in pieces(xz)) + ']\nexec(lzma.decompress(base64.b85decode("".join(P))))\n',
    "variable.py": f'import lzma,base64\nD = "{xz[:300]}" + \\\n    "{xz[300:]}"\nexec(lzma.decompress(base64.b85decode(D)))\n',
    "linecache.py": f'import lzma as L,base64 as B,linecache as C\nS=L.decompress(B.b85decode("{xz}")).decode()\nF="<packed>"\n'
                    "C.cache[F]=(len(S),None,S.splitlines(True),F)\nexec(compile(S,F,'exec'))\n",
    "nested.py": f'import lzma,base64\nexec(lzma.decompress(base64.b85decode("{b85(lzma.compress(twice.encode()))}")))\n',
}

for name, text in SCRIPTS.items():
    (HERE / name).write_text(text)
(HERE / "side.lzma").write_bytes(lzma.compress(PROGRAM, format=lzma.FORMAT_ALONE))
