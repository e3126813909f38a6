import time, traceback, collections
from test_board_foreign_fuzz import *
import test_board_foreign_fuzz as M

SEEN = collections.Counter()
spent = collections.defaultdict(lambda: [0, 0.0])
last = [None]


def main(words):
    last[0] = words
    t = time.process_time()
    try:
        M_main(words)
    finally:
        x = spent[" ".join(words)]
        x[0] += 1
        x[1] += time.process_time() - t


M_main = M.main
M.main = main
_A = M.altered


def alt(draw, data):
    last.append(_A(draw, data))
    return last[-1]


M.altered = alt


@pytest.mark.parametrize("part", range(0, 20))
def test_c(workplace, capsys, part):
    @seed(part)
    @settings(max_examples=1000, database=None, suppress_health_check=QUIET)
    @given(data=st.data())
    def f(data):
        try:
            fuzz(workplace, data, capsys)
        except (Exception, pytest.fail.Exception) as e:
            if type(e).__module__.startswith("hypothesis"):
                raise
            tb = traceback.extract_tb(e.__traceback__)
            own = [x for x in tb if "/assay/" in x.filename]
            key = (type(e).__name__, (own or tb)[-1].filename[-40:], (own or tb)[-1].lineno, last[0][0])
            SEEN[key] += 1
            if SEEN[key] == 1:
                with open("/work/out/fuzz17/findings.txt", "a") as o:
                    print("=====", part, key, last[0], file=o)
                    print(repr(str(e))[:600], file=o)
                    print("".join(traceback.format_list(own[-6:])), file=o)
                    print(last[-1][:6000], file=o)
        del last[1:]

    t = time.process_time()
    f()
    t = time.process_time() - t
    open("/work/out/fuzz17/spent.txt", "a").write(
        f"part {part} CPU/example {t / 1000:.4f} findings {sum(SEEN.values())} kinds {len(SEEN)}\n"
        + "".join(
            f"{v[0]:5d} {v[1] / v[0]:.4f} {v[1]:.2f} {k}\n"
            for k, v in sorted(spent.items(), key=lambda i: -i[1][1])
        )
    )
