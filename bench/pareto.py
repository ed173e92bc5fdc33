"""All leaves of one teacher, from the same vectors and one pass over the same texts: quality against queries a second and megabytes.

`python bench/pareto.py --out DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Fewer of the texts that bench/general_leaf.py learns from; speeds interleaved; judged on SciFact and on documentation of packages that no one learned from."""
import json
from pathlib import Path
from fastcore.script import call_parse
from common import HERE, fast_teacher, machine, made, save, two_tasks
from general_leaf import general_texts
from leaf_nb.pareto import pareto

@call_parse
def main(
    out:str=None, # Folder of the leaves
    students:str='static,prune:1,prune:2,prune:3', # As in `distill`
    lr:float=5e-4, # Peak rate of those with layers
    n_solve:int=8000, # Texts that their start is solved on
    quick:bool=False, # A hundredth: only to see that the script works; nothing is saved
):
    "Prints the tables; writes bench/results/pareto.json and .png unless `quick`"
    if out is None: raise SystemExit('Where should the leaves go? Type --out DIR')
    texts = general_texts(40_000, 4000, 600 if quick else 6); res = dict(command='python bench/pareto.py --out DIR', machine=machine(),
        settings=dict(students=students, n_texts={k: len(v) for k,v in texts.items()}, lr=lr, n_solve=n_solve, max_length=128, epochs=1))
    found = [pareto(fast_teacher('offline', 128), texts, t, Path(out), students.split(','), max_length=128, lr=lr, n_solve=n_solve)
        for t in (two_tasks(200, 50, False) if quick else two_tasks())]
    for p in found: print(p.task); print(p.table.round(3).to_string())
    if quick: return
    leaves = {k: made(l.info) | dict(seconds=l.history.seconds.iloc[-1], embedded_seconds=l.info['embedded_seconds'])
        for k,l in found[0].leaves.items()}
    save('pareto', res | dict(made=leaves, tasks={p.task: json.loads(p.table.reset_index(names='student').to_json(orient='records'))
        for p in found}))
    found[-1].plot()[0].figure.savefig(HERE/'results'/'pareto.png', dpi=110)
