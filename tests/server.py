"A real embeddings server on this machine, OpenAI's API and text-embeddings-inference's, that plays faults: `with serve(fn, ['drop', 500]) as s: Endpoint(s.v1)`"
import json, os, threading, time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

os.environ['NO_PROXY'] = os.environ['no_proxy'] = '127.0.0.1' # a proxy would look for it elsewhere

model_lock = threading.Lock() # of all servers: `encode` switches dropout off and on again, and a slow answer may outlive its server

# Answers that are not right, made from the right ones (a list of rows)
WRONG = dict(
    short = lambda v: v[:-1],
    ragged = lambda v: [*v[:-1], v[-1][:-1]],
    nan = lambda v: [*v[:-1], [float('nan'), *v[-1][1:]]],
    null = lambda v: [*v[:-1], [None, *v[-1][1:]]],
    nothing = lambda v: [*v[:-1], None],
    zero = lambda v: [*v[:-1], [0.]*len(v[-1])],
    narrow = lambda v: [r[:8] for r in v])

class Handler(BaseHTTPRequestHandler):
    protocol_version,disable_nagle_algorithm = 'HTTP/1.1',True
    def log_message(self, *args): pass

    def say(self, status, body, headers=None, reason=None, announce=None):
        "Answer; `announce` bytes are promised where that differs from what is sent"
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status, reason)
        for k,v in {'Content-Length': announce or len(data), 'Content-Type': 'application/json', **(headers or {})}.items():
            self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        s = self.server.state
        s.asked.append(self.path)
        if self.path in s.info: self.say(200, s.info[self.path])
        else: self.say(404, {'error': 'no such address'})

    def do_POST(self):
        s = self.server.state
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        texts = body['inputs' if self.path=='/embed' else 'input']
        with s.lock:
            fault = s.faults() if callable(s.faults) else s.faults.pop(0) if s.faults else None
            s.got.append(SimpleNamespace(at=time.monotonic(), path=self.path, body=body, texts=texts, headers=dict(self.headers),
                fault=fault))
            s.busy += 1
            s.peak = max(s.peak, s.busy)
        try: self.play(fault, texts)
        except (BrokenPipeError, ConnectionResetError): pass # the client left, as some tests want
        finally:
            with s.lock: s.busy -= 1

    def play(self, fault, texts):
        s = self.server.state
        time.sleep(s.delay() if callable(s.delay) else s.delay)
        if isinstance(fault, int): return self.say(fault, {'error': f'a made up {fault}'})
        if isinstance(fault, dict): return self.say(**{k: v(self.headers) if callable(v) else v for k,v in fault.items()})
        if fault=='drop':
            self.close_connection = True
            return
        if fault=='slow': time.sleep(s.slow)
        with model_lock: rows = [[float(x) for x in r] for r in s.fn(texts)]
        if fault in WRONG: rows = WRONG[fault](rows)
        answer = rows
        if self.path!='/embed': # last row first, as the API allows
            answer = dict(data=[dict(index=i, embedding=r) for i,r in enumerate(rows)][::-1],
                usage=dict(prompt_tokens=sum(map(len, texts)), total_tokens=sum(map(len, texts))))
        data = json.dumps(answer)
        if fault=='truncate': return self.say(200, data[:len(data)//2])
        if fault=='cut':
            self.close_connection = True
            return self.say(200, data[:len(data)//2], announce=len(data))
        self.say(200, data)

class Server(ThreadingHTTPServer):
    daemon_threads,request_queue_size = True,128
    def handle_error(self, request, client_address): pass

@contextmanager
def serve(
    fn, # list[str] -> rows
    faults=(), # Played first, one a request: a status, a name as in `play`, `say`'s arguments as a dict (functions get the request's headers), or None for no fault. Or a function that says so at each request
    delay=0., # Seconds before each answer, or a function that says so
    slow=1.5, # Seconds of a 'slow' answer
    models=('served',), # What /v1/models lists
    info=None, # What text-embeddings-inference's /info says; None: there is none
):
    "A server and what it saw: `v1` and `embed` to call, `got` (requests: at, path, body, texts, headers, fault), `asked` (paths), `peak` (most at a time)"
    server = Server(('127.0.0.1', 0), Handler)
    base = f'http://127.0.0.1:{server.server_port}'
    known = {'/v1/models': dict(data=[dict(id=m) for m in models])}
    if info is not None: known['/info'] = info
    server.state = s = SimpleNamespace(fn=fn, faults=faults if callable(faults) else list(faults), delay=delay, slow=slow, info=known,
        got=[], asked=[], busy=0, peak=0, lock=threading.Lock(),
        base=base, v1=f'{base}/v1', embed=f'{base}/embed')
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=.02), daemon=True)
    thread.start()
    try: yield s
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
