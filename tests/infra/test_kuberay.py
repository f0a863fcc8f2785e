"""Our kustomizations, rendered by kubectl and held against KubeRay's own definitions."""

import pytest
import yaml

OVERLAYS = ["dev", "gpu-spot", "gpu-reserved"]
BASE, JOB, DEV = "kuberay/base/", "kuberay/job/", "kuberay/overlays/dev/cluster/"
CLUSTER, RAYJOB = BASE + "raycluster.yaml", JOB + "rayjob.yaml"
SPOT, RESERVED = "kuberay/overlays/gpu-spot/cluster/", "kuberay/overlays/gpu-reserved/cluster/"


@pytest.fixture(scope="session")
def objects(infra):
    """Objects of every kustomization, by overlay and half of it, then by kind."""
    from validation.kubernetes import render

    return {
        (overlay, half): {
            item["kind"]: item for item in render(infra / "kuberay/overlays" / overlay / half)
        }
        for overlay in OVERLAYS
        for half in ("cluster", "job")
    }


@pytest.mark.parametrize("half", ["cluster", "job"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_and_kuberay_would_take_it(overlay, half, infra, schemas):
    from validation.kubernetes import faults

    assert list(faults(infra / "kuberay/overlays" / overlay / half, schemas)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_job_runs_on_the_very_cluster_of_its_overlay(overlay, objects):
    cluster, job = objects[overlay, "cluster"], objects[overlay, "job"]
    assert job["RayJob"]["spec"]["rayClusterSpec"] == cluster["RayCluster"]["spec"]
    assert job["RayJob"]["metadata"]["labels"] == cluster["RayCluster"]["metadata"]["labels"]
    assert "RayCluster" not in job
    assert "RayJob" not in cluster


def test_overlays_differ_in_machines(objects):
    def groups(overlay):
        spec = objects[overlay, "cluster"]["RayCluster"]["spec"]
        return {group["groupName"]: group for group in spec["workerGroupSpecs"]}

    def gpus(overlay):
        container = groups(overlay)["trainer"]["template"]["spec"]["containers"][0]
        return container["resources"]["limits"].get("nvidia.com/gpu")

    assert [gpus(overlay) for overlay in OVERLAYS] == [None, "1", "8"]
    for group in groups("gpu-spot").values():
        assert "spot" in str(group["template"]["spec"]["affinity"])
    for group in groups("gpu-reserved").values():  # Kueue admits what has a fixed size
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
    labels = objects["gpu-reserved", "job"]["RayJob"]["metadata"]["labels"]
    assert "kueue.x-k8s.io/queue-name" in labels


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_wrong_job_file_is_not_tried_again(overlay, objects):
    """KubeRay makes a new cluster after any failure; a lost head needs its submitter alone."""
    spec = objects[overlay, "job"]["RayJob"]["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["submitterConfig"]["backoffLimit"] > 2, "two, KubeRay's own, last half a minute"


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (CLUSTER, "minReplicas", "minReplica", "did you mean 'minReplicas'?"),
        (CLUSTER, "      maxReplicas: 8\n", "", "'maxReplicas' is missing"),
        (CLUSTER, "ling: true", 'ling: "yes"', "'yes' is not of type 'boolean'"),
        (CLUSTER, "version: v2", "version: v3", "'v3' is not one of"),
        (CLUSTER, "cpu: 500m", "cpu: [1]", "neither an integer nor a string"),
        (CLUSTER, "runAsNonRoot", "runAsNoRoot", "did you mean 'runAsNonRoot'?"),
        (CLUSTER, "name: MP_API_KEY", "name: AWS_ACCESS_KEY_ID", "two items with"),
        (CLUSTER, "name: MP_API_KEY", "name: MP_APIKEY", "did you mean 'MP_API_KEY'"),
        (CLUSTER, 'num-cpus: "0"', 'num-cpus: "4"', "the head must have 0 CPUs"),
        (CLUSTER, "role: trainer", "role: teacher", "'teacher', not one of"),
        (CLUSTER, "0.1.0-cuda", "0.0.9-cuda", "image omnimat:0.0.9-cuda is none of"),
        (CLUSTER, "2.60.0", "2.59.0", "rayVersion is 2.59.0; pyproject.toml asks"),
        (CLUSTER, "requests: &head", "requested: &head", "did you mean 'requests'?"),
        (CLUSTER, "limits: *head", "limits: {memory: 1Gi}", "requests 16Gi of memory, its limit"),
        (CLUSTER, "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
        (BASE + "networkpolicy.yaml", "matchLabels", "matchLabel", "did you mean 'matchLabels'?"),
        (BASE + "serviceaccount.yaml", "  name:", "  nam:", "missing metadata.name"),
        (BASE + "settings.yaml", "\ndata:", "\ndat:", "did you mean 'data'?"),
        (BASE + "kustomization.yaml", "resources:", "resorces:", 'unknown field "resorces"'),
        (RAYJOB, "backoffLimit", "backofLimit", "did you mean 'backoffLimit'?"),
        (RAYJOB, "ished: 600", "ished: soon", "'soon' is not of type 'integer'"),
        (RAYJOB, "jobs/pretrain", "jobs/pretrian", "did you mean 'jobs/pretrain.yaml'?"),
        (JOB + "kustomization.yaml", "kind: RayJob}", "kind: RayJb}", "has neither rayClusterSpec"),
        (JOB + "kustomization.yaml", "spec.rayClusterSpec", "spec.rayCluster", "did you mean"),
        (SPOT + "spot.yaml", "operator: In", "oprator: In", "unknown key 'oprator'"),
        (RESERVED + "reserved.yaml", "value: trainer", "value: tutor", "testing value /spec/"),
        (DEV + "small.yaml", "memory: 4Gi", "memory: lots", "'lots' does not match"),
    ],
)
def test_a_broken_copy_is_refused_in_a_sentence(file, old, new, sentence, edited, schemas):
    from validation import kubernetes, project

    copy = edited(file, old, new)
    overlay = next((name for name in OVERLAYS if name in file), "gpu-spot")
    folder = copy / "kuberay/overlays" / overlay / "job"
    found = [*kubernetes.faults(folder, schemas), *project.text_faults(copy / file)]
    assert any(sentence in fault for fault in found), found
    for fault in found:
        assert fault.startswith(str(copy))
        assert len(fault) < 500, "a sentence, not a dump"


def test_rules_in_cel_count(schemas):
    from validation.schema import errors

    schema = schemas["ray.io/v1", "RayJob"]
    either_or = """
    apiVersion: ray.io/v1
    kind: RayJob
    metadata: {name: a}
    spec:
      deletionStrategy:
        onSuccess: {policy: DeleteCluster}
    """
    (found,) = errors(yaml.safe_load(either_or), schema)
    assert found.startswith("spec.deletionStrategy: deletionStrategy requires either BOTH")
    right = either_or + "    onFailure: {policy: DeleteCluster}\n"
    assert list(errors(yaml.safe_load(right), schema)) == []
