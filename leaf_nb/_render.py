"What the docs say about a symbol: its call, its docstring, a table of its parameters"

import re
from contextlib import suppress
from html import escape
from inspect import Parameter, Signature, formatannotation, getsourcelines, unwrap
from textwrap import dedent, fill

_empty = Parameter.empty

def _code(s):
    "`s` as code that may stand in a table cell, where a bare `|` would end it"
    return f'<code>{escape(s, quote=False)}</code>'.replace('|', '&#124;')

class _Name(str):
    "A default as the reader would type it"
    __repr__ = str.__str__

def _show(o): return _Name(getattr(o, '__name__', None) or repr(o))

def _anno(o):
    "A type by its last name; a link to its page where it is ours"
    if o in (_empty, type(None)) or isinstance(o, type(Parameter.VAR_KEYWORD)): return '' # the last two are guesses of docments
    if isinstance(o, type) and o.__module__.startswith(f'{__package__}.'): return f'`{o.__name__}`'
    return _code(re.sub(r'\b(?:[A-Za-z_]\w*\.)+', '', o if isinstance(o, str) else formatannotation(o)))

def _type(d):
    "Type and default of the docment `d`, as one writes them in Python"
    return _anno(d.anno) + ('' if d.default is _empty else f' = {_code(_show(d.default))}')

def _doc(o):
    "A docment as the text of a table cell"
    if o in (None,_empty): return ''
    s = re.sub(r'`([^`]*[|][^`]*)`', lambda m: _code(m[1]), o)
    return s.replace('|', r'\|').replace('\n', '<br>')

def _row(nm, d): return f'| {nm} | {_type(d)} | {_doc(d.docment)} |'

def _table(sym):
    "Markdown table of the documented parameters of `sym`; nothing where none is documented"
    from fastcore.docments import docments
    ds = {k:v for k,v in docments(sym, full=True).items() if k!='self'}
    if not any(d.docment for d in ds.values()): return ''
    ret = ds.pop('return', None)
    rows = [_row(_code(k), v) for k,v in ds.items() if v.docment or _type(v)]
    if ret and (ret.docment or ret.anno not in (None,_empty)): rows.append(_row('**returns**', ret))
    return '\n'.join(['| | type | |', '|---|---|---|', *rows])

def _call(nm, sig):
    "`nm` with the names and defaults of `sig`; the types stand in the table"
    ps = [p.replace(annotation=_empty, default=_empty if p.default is _empty else _show(p.default))
        for p in sig.parameters.values() if p.name!='self']
    line = re.sub(r"'[^']*'", lambda m: m[0].replace(' ', '\0'), f'{nm}{Signature(ps)}') # no break within a string
    line = fill(line, 84, subsequent_indent='    ', break_long_words=False, break_on_hyphens=False)
    return '```python\n' + line.replace('\0', ' ') + '\n```'

def _examples(s):
    "The docstring `s` with its doctests as code; in markdown a `>` is a quotation"
    block = r'^[ ]*>>> .*(?:\n[ ]*\S.*)*'
    return re.sub(block, lambda m: '```python\n' + dedent(m[0]) + '\n```', s, flags=re.M)

def _source(o):
    "Address of the code of what `o` shows. nbdev knows the file, but finds no line by the full name of a symbol"
    from nbdev.doclinks import NbdevLookup
    look = NbdevLookup()
    src = look.code(o.fn) or look.code(f"{getattr(o.sym, '__module__', '')}.{o.nm}") # a decorated method has lost its class
    if not src: return ''
    with suppress(OSError, TypeError): return f"[source]({src.partition('#')[0]}#L{getsourcelines(unwrap(o.sym))[1]})"
    return f"[source]({src.partition('#')[0]})"

def render(sym, name=None, title_level=3):
    "The `renderer` of settings.ini. nbdev is imported here, so an installed leaf_nb does without it"
    from IPython.display import Markdown
    from nbdev.showdoc import BasicMarkdownRenderer
    o = BasicMarkdownRenderer(sym, name=name, title_level=title_level)
    docs = _examples(o.docs) if getattr(o.sym, '__doc__', None) else '' # else it would be that of `__call__`
    parts = ['#'*title_level + ' ' + o.nm.replace('_', r'\_'), _source(o), _call(o.nm, o.sig) if o.sig else '', docs,
        _table(o.sym) if o.sig else '']
    return Markdown('\n\n'.join(p for p in parts if p))
