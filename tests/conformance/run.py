#!/usr/bin/env python3
"""Runs conformance behaviours from outside, against any cluster.

    python3 -m venv venv && venv/bin/pip install kubernetes
    venv/bin/python tests/conformance/run.py KUBECONFIG [--only TEXT]... [--skip TEXT]... [--jobs 4] [--hollow-nodes 2]
                                             [--list conformance-list.txt] [--image REFERENCE]

Each behaviour is written from its description in Kubernetes' conformance.yaml and bears its title there. Those of `areas`
need only the API server and its controllers: pods run on nodes that only report (`hollow.py`), so no image is pulled.
With --image, those of `containers` run instead, on the cluster's own nodes: it names an image that the nodes can pull and
`image.py` made. `kubectl` behaviours need kubectl on the PATH. With --list it also names the behaviours of these classes
that are not written here. The exit code is 1 when one fails.
"""

import argparse
import concurrent.futures
import importlib
import os
import pathlib
import re
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

from client import Api, Refused, eventually  # noqa: E402
from hollow import HollowNodes  # noqa: E402
from registry import BEHAVIOURS, World  # noqa: E402


def run_one(title, function, api, image):
    """None, or what went wrong."""
    world, wrong = World(api, image), None
    try:
        function(world)
    except Exception as error:  # any failure of a behaviour is a result, not the end of the run
        wrong = f"{type(error).__name__}: {error}\n" + "".join(traceback.format_tb(error.__traceback__)[-2:])
    for undo in reversed(world.undo):
        try:
            undo()
        except Refused as refusal:
            if refusal.status not in (404, 409):
                wrong = wrong or f"while tidying up: {refusal}"
    return wrong


def namespaces_go(api):
    """The framework waits for its namespaces to be gone."""
    namespaces, own = api.resource("v1", "namespaces"), f"e2e-run={os.getpid()}"
    eventually("namespaces are gone", lambda: not namespaces.names(labelSelector=own))


def is_furnished(api):
    """The framework begins when the cluster is up, and so has what its controllers make of themselves."""
    for group_version, plural in (("v1", "services"), ("v1", "endpoints"), ("discovery.k8s.io/v1", "endpointslices")):
        resource = api.resource(group_version, plural, "default")
        eventually(f"the {plural} of the API server", lambda resource=resource: resource.exists("kubernetes"))


def of_classes(classes, path):
    lines = re.findall(rf"^[{classes}] +\S+ +\S+ +(.*\S)", pathlib.Path(path).read_text(), re.M)
    return {line for line in lines if line.startswith("[sig-")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kubeconfig")
    parser.add_argument("--only", action="append", default=[], help="behaviours whose title has this text")
    parser.add_argument("--skip", action="append", default=[], help="leave out behaviours whose title has this text")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--hollow-nodes", type=int, default=2)
    parser.add_argument("--list", help="Kubernetes' behaviours with their class, to compare")
    parser.add_argument("--image", help="run the behaviours that need containers, with this image")
    options = parser.parse_args()

    package = "containers" if options.image else "areas"
    for area in sorted(path.stem for path in (HERE / package).glob("*.py")):
        importlib.import_module(f"{package}.{area}")
    chosen = {
        title: found
        for title, found in BEHAVIOURS.items()
        if (not options.only or any(text in title for text in options.only)) and not any(text in title for text in options.skip)
    }
    api, failed, said = Api(options.kubeconfig), {}, threading.Lock()

    def judge(title):
        begun = time.monotonic()
        wrong = run_one(title, chosen[title][0], api, options.image)
        with said:
            print(f"{'FAIL' if wrong else 'pass'} {time.monotonic() - begun:5.1f} s  {title}", flush=True)
            if wrong:
                failed[title] = wrong

    is_furnished(api)
    with HollowNodes(Api(options.kubeconfig), 0 if options.image else options.hollow_nodes):
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as workers:
            list(workers.map(judge, [title for title, (_, serial) in chosen.items() if not serial]))
        for title in [title for title, (_, serial) in chosen.items() if serial]:
            judge(title)
        try:
            namespaces_go(api)
        except AssertionError as error:
            failed["tear-down"] = str(error)
    for title, wrong in failed.items():
        print(f"\n--- {title}\n{wrong}")
    if options.list:
        wanted = of_classes("KS" if options.image else "A", options.list)
        for title in sorted(wanted - BEHAVIOURS.keys()):
            print(f"not written: {title}")
        for title in sorted(BEHAVIOURS.keys() - wanted):
            print(f"not in the list: {title}")
    print(f"\n{len(chosen) - len(failed.keys() & chosen.keys())} of {len(chosen)} behaviours hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
