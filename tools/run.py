"Run notebooks in place and keep their outputs; cells that `nbdev_test` skips keep the ones they have"
import json, os, re, sys, tempfile

for k in ('MPLBACKEND','IN_TEST'): os.environ.pop(k, None) # the first loses the plots, the second hides what a reader gets
os.environ.update(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', HF_HUB_DISABLE_PROGRESS_BARS='1') # bars of loading say nothing to a reader

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from fastcore.foundation import working_directory
from fastcore.script import call_parse
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import extract_directives

def skipped(cell, flags):
    "Whether `nbdev_test` would not run `cell`"
    if cell.cell_type!='code' or 'nbdev_export'+'(' in cell.source: return True
    d = extract_directives(cell, remove=False)
    return d.get('eval:', [''])[0].lower()=='false' or bool(flags & d.keys())

def portable(outputs):
    "`outputs` without the names of temporary folders, which differ from run to run, and without where packages lie on this machine"
    text = re.sub(re.escape(tempfile.gettempdir())+r'/tmp\w{8}/?', '', json.dumps(outputs))
    return json.loads(re.sub(r"(?<![\w.])/[^\s\"':]*/site-packages/", '', text))

def run(f, flags):
    "Run notebook `f` without the cells marked by one of `flags`; it is written only if every cell worked"
    nb = read_nb(f)
    def _skip(c):
        if skipped(c, flags): return True
        c.outputs = []
    with working_directory(f.parent): CaptureShell(f, mpl_format='png').run_all(nb, exc_stop=True, preproc=_skip)
    for c in nb.cells:
        if c.cell_type=='code': c.outputs = portable(c.outputs)
    clean_nb(nb)
    write_nb(nb, f)

@call_parse
def main(
    path:str=None, # A notebook or a folder
    flags:str='', # Test flags to run that are normally skipped, e.g. 'slow cuda'
):
    "Store the outputs of the notebooks"
    cfg = get_config()
    sys.path.insert(0, str(cfg.config_path))
    for f in sorted(nbglob(path, as_path=True)):
        run(f.absolute(), set(cfg.tst_flags.split())-set(flags.split()))
        print(f.name, flush=True)
