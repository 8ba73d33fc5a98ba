"""What the API server hands on to pods and services."""

import json
import time

from client import equal
from registry import behaviour
from served_pods import Net
from served_tls import Authority, mounted

PROXY = "[sig-network] Proxy version v1 "
TEST = '<a href="/rewriteme">test</a>'


@behaviour(PROXY + "should proxy through a service and a pod")
def through(world):
    net = Net(world, "proxy")
    world.resource("v1", "secrets", net.namespace).create(Authority("proxy-test").secret("certs"))
    volume, mount = mounted("certs")
    serves = {"80": TEST, "1080": TEST, "160": "foo", "162": "bar", "443": '<a href="/tlsrewriteme">test</a>', "460": "tls baz", "462": "tls qux"}
    ports = [{"containerPort": 80}] + [{"containerPort": int(port), "name": name} for port, name in (("160", "dest1"), ("162", "dest2"), ("460", "tlsdest1"), ("462", "tlsdest2"))]
    command = ["python3", "/served/netexec.py", "http=80,1080,160,162", "tls=443,460,462", "cert=/certs/tls.crt", "key=/certs/tls.key"]
    options = {"command": command, "volumeMounts": [mount]}
    env = {f"SERVE_PORT_{port}": text for port, text in serves.items()}
    labels = {"proxy-service": "test"}
    net.server("proxy-test", labels, env=env, ports=ports, options=options, volumes=[volume])
    numbers = {"portname1": (80, "dest1"), "portname2": (81, 162), "tlsportname1": (443, "tlsdest1"), "tlsportname2": (444, 462)}
    net.service("proxy-service", *({"name": name, "port": port, "targetPort": target} for name, (port, target) in numbers.items()), selector=labels)
    net.ready("proxy-test")

    def path(plural, name, scheme="", port=""):
        full = ":".join(part for part in (scheme, name, port) if part) if scheme or port else name
        full = f"{scheme}:{name}:" if scheme and not port else full
        return f"/api/v1/namespaces/{net.namespace}/{plural}/{full}/proxy"

    def service(scheme, port):
        return path("services", "proxy-service", scheme, port)

    def pod(scheme, port):
        return path("pods", "proxy-test", scheme, port)

    wanted = {}
    for scheme in ("", "http"):
        wanted |= {service(scheme, "portname1"): "foo", service(scheme, "portname2"): "bar", pod(scheme, "160"): "foo", pod(scheme, "162"): "bar"}
        wanted |= {pod(scheme, port): f'<a href="{pod(scheme, port)}/rewriteme">test</a>' for port in ("", "1080")}
    wanted |= {service("", "80"): "foo", service("", "81"): "bar"}
    wanted |= {service("https", "tlsportname1"): "tls baz", service("https", "tlsportname2"): "tls qux", service("https", "443"): "tls baz"}
    wanted |= {pod("https", "443"): f'<a href="{pod("https", "443")}/tlsrewriteme">test</a>', pod("https", "460"): "tls baz", pod("https", "462"): "tls qux"}
    wrong = set()
    for attempt in range(20):
        for url, text in wanted.items():
            begun = time.monotonic()
            answer = world.api.raw("GET", url + "/")
            # Until the service's endpoints are known.
            if attempt == 0 and answer.status == 503 and "/services/" in url:
                time.sleep(1)
                answer = world.api.raw("GET", url + "/")
            if (answer.status, answer.data.decode()) != (200, text):
                wrong.add((url, answer.status, answer.data.decode()[:300]))
            assert time.monotonic() - begun < 30
    assert not wrong, wrong


def responses(title, tail):
    @behaviour(PROXY + f"A set of valid responses are returned for both pod and service {title}")
    def valid(world):
        net = Net(world, "proxy")
        env = {"SERVE_PORT_80": "not accessible", "JSON_RESPONSE": "1"}
        net.server("agnhost", {"response": "true"}, env=env, ports=[{"containerPort": 80}])
        net.ready("agnhost")
        net.service("e2e-proxy-test-service", {"port": 80, "targetPort": 80, "protocol": "TCP"}, selector={"response": "true"})
        for target in ("pods/agnhost", "services/e2e-proxy-test-service"):
            root = f"/api/v1/namespaces/{net.namespace}/{target}/proxy"
            for verb in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
                url = root + tail.format(verb=verb)
                answer = world.api.pool.request(verb, world.api.host + url, fields=None, headers=world.api.headers, redirect=False, retries=False)
                if not tail and verb in ("GET", "HEAD"):
                    # The API server leads those on to the folder itself.
                    equal((answer.status, answer.headers["Location"].removeprefix(world.api.host)), (301, root + "/"))
                    answer = world.api.pool.request(verb, f"{world.api.host}{root}/?method={verb}", headers=world.api.headers, redirect=False, retries=False)
                equal((verb, target, answer.status), (verb, target, 200))
                if verb != "HEAD":
                    said = json.loads(answer.data)
                    equal((said["Method"], said["Path"]), (verb, tail.format(verb=verb) or "/"))


responses("ProxyWithPath", "/some/path/with/{verb}")
responses("Proxy", "")
