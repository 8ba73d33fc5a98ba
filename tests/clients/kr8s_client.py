"""kr8s against a cluster with a node: python3 kr8s_client.py KUBECONFIG IMAGE. IMAGE serves HTTP on port 8080."""

import asyncio
import sys

import kr8s.asyncio
from kr8s.asyncio.objects import Deployment, Pod


async def until_ready(deployment):
    while len(await deployment.ready_pods()) < 2:
        await asyncio.sleep(0.1)


async def main(kubeconfig, image):
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig)
    container = {"name": "web", "image": image, "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    deployment = await Deployment(
        {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}, api=api
    )
    await deployment.create()
    await deployment.scale(2)
    await asyncio.wait_for(until_ready(deployment), 60)
    pods = await deployment.pods()
    assert len(pods) == 2, pods

    pod = pods[0]
    await pod.label(colour="blue")
    await pod.patch({"metadata": {"annotations": {"example.com/note": "kept"}}})
    found = [found.name async for found in Pod.list(api=api, label_selector={"colour": "blue"})]
    assert found == [pod.name], found
    said = await pod.exec(["sh", "-c", "echo from within"])
    assert said.stdout == b"from within\n", said
    # Its WebSocket names no subprotocol.
    async with pod.portforward(8080) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"hello from web:v1\n"), 30)
        assert b" 200 OK" in answer, answer
        writer.close()

    await deployment.delete()
    await deployment.wait("delete", timeout=60)
    print("all right")


asyncio.run(main(sys.argv[1], sys.argv[2]))
