"""Certificates for servers within the cluster, made with openssl."""

import base64
import pathlib
import subprocess
import tempfile


class Authority:
    """A root of its own, and one server's certificate below it."""

    def __init__(self, *names):
        with tempfile.TemporaryDirectory() as folder:
            here = pathlib.Path(folder)

            def openssl(*words):
                subprocess.run(["openssl", *words], cwd=here, check=True, capture_output=True)

            key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=e2e-server-cert-ca", "-days", "2")
            openssl("req", *key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN={names[0]}")
            (here / "more").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\nextendedKeyUsage=serverAuth\n")
            openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tls.crt", "-days", "2", "-extfile", "more")
            self.root, self.cert, self.key = ((here / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key"))
        self.bundle = base64.b64encode(self.root.encode()).decode()

    def secret(self, name):
        return {"metadata": {"name": name}, "type": "kubernetes.io/tls", "stringData": {"tls.crt": self.cert, "tls.key": self.key}}


def mounted(secret):
    """The volume and the mount by which a server has it in /certs."""
    volume = {"name": "certs", "secret": {"secretName": secret}}
    return volume, {"name": "certs", "mountPath": "/certs", "readOnly": True}
