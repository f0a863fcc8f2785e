"""Files for `ray up`, SkyPilot and Slurm, read by Ray, EC2's own description, SkyPilot and bash."""

import contextlib
import os
import secrets
import shutil
import subprocess

import pytest

from omnimat.testing import ray_head

AWS, GCP = "aws.yaml", "gcp.yaml"
SCRIPT = "ray_cluster.sh"


@pytest.mark.parametrize("file", [AWS, GCP])
def test_ray_up_would_take_it(file, infra):
    from validation.launcher import faults

    assert list(faults(infra / file)) == []


@pytest.mark.parametrize("file", [AWS, GCP])
def test_nothing_comes_beside_the_images_locks(file, infra):
    commands = (infra / file).read_text()
    assert "ray start" in commands
    assert not [word for word in ("pip install", "apt-get", "PYTHONPATH") if word in commands]


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (AWS, "max_workers: 20", "max_worker: 20", "did you mean 'max_workers'?"),
        (AWS, "resources: {CPU: 0}", "resource: {CPU: 0}", "did you mean 'resources'?"),
        (AWS, "max_workers: 20", "max_workers: many", "'many' is not of type 'integer'"),
        (AWS, "head_node_type: head", "head_node_type: hed", "`head_node_type` must be one of"),
        (AWS, "InstanceType: m7i", "InstanceTyp: m7i", "did you mean 'InstanceType'?"),
        (AWS, "{VolumeSize: 200", "{VolumeSiz: 200", "did you mean 'VolumeSize'?"),
        (AWS, "VolumeSize: 200", "VolumeSize: big", "Invalid type for parameter"),
        (AWS, "SecurityGroupIds: [sg-00000000000000000]", "KeyName: mine", "port 22 to the whole"),
        (AWS, "{CPU: 0}", "{CPU: 4}", "the head must have 0 CPUs"),
        (AWS, "omnimat.io/role: trainer", "omnimat.io/rol: trainer", "omnimat.io/role is None"),
        (AWS, "omnimat:0.1.0-cuda", "omnimat:0.1.0-cpu", "not omnimat:0.1.0-cuda"),
        (AWS, "GPU: 4", "GPU: 8", "is 'CPU=736,GPU=24'; its groups may grow to 'CPU=736,GPU=48'"),
        (GCP, "  type: gcp", "  typ: gcp", "provider: 'type' is missing"),
        (GCP, "idle_timeout_minutes: 5", "idle_timeout_minute: 5", "did you mean 'idle_tim"),
        (GCP, "    labels: {omnimat.io/role: featurizer}\n", "", "omnimat.io/role is None"),
    ],
)
def test_a_broken_copy_is_refused_in_a_sentence(file, old, new, sentence, edited):
    from validation.launcher import faults

    path = edited(file, old, new) / file
    found = list(faults(path))
    assert any(sentence in fault for fault in found), found
    assert all(fault.startswith(str(path)) and len(fault) < 500 for fault in found)


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("skypilot.yaml", "OMNIMAT_STORAGE", "OMNIMAT_STORGE", "did you mean 'OMNIMAT_STORAGE'?"),
        ("skypilot.yaml", "jobs/pretrain", "jobs/pretain", "did you mean 'jobs/pretrain.yaml'?"),
        (AWS, "127.0.0.1", "0.0.0.0", "lets everybody in"),
        (GCP, "omnimat:0.1.0-cpu", "omnimat:latest", "image omnimat:latest is none of"),
    ],
)
def test_names_that_nobody_knows_are_told(file, old, new, sentence, edited):
    from validation.project import text_faults

    assert any(sentence in fault for fault in text_faults(edited(file, old, new) / file))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [("", "", None), ("accelerators", "acelerators", "did you mean 'accelerators'?")],
)
def test_skypilot_would_take_the_task(old, new, sentence, edited):
    from validation.skypilot import faults, is_installed

    if not is_installed():
        pytest.skip("SkyPilot, whose pins are not ours, is on no path: `uv tool install skypilot`")
    found = list(faults(edited("skypilot.yaml", old, new) / "skypilot.yaml"))
    assert len(found) == (sentence is not None)
    assert not sentence or sentence in found[0]


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("slurm.sh", "", "", None),
        ("slurm.sh", "workers() {", "workers( {", "syntax error"),
        ("slurm.sh", '"$@" &', "$@ &", "[SC2068]"),
        (SCRIPT, "", "", None),
        (SCRIPT, "case $command in", "case $command", "syntax error"),
        (SCRIPT, "address=$1", "adress=$1", "[SC2034]"),
    ],
)
def test_shellcheck_would_take_the_script(name, old, new, sentence, edited):
    from validation.shell import faults

    found = list(faults(edited(name, old, new) / name))
    assert bool(found) == (sentence is not None), found
    assert not sentence or any(sentence in fault for fault in found)


def test_the_command_says_all_of_it(infra, edited, capsys):
    import validate

    assert validate.main([]) == 0
    assert capsys.readouterr().out.startswith(f"{infra}: ok\nRayCluster and RayJob were not held")
    copy = edited(AWS, "max_workers: 20", "max_worker: 20")
    assert validate.main([str(copy)]) == 2
    assert "unknown key 'max_worker'; did you mean 'max_workers'?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["head"], {"RAY_AUTH_TOKEN": "a"}, "ray_cluster.sh head ADDRESS"),
        (["worker", "a:1", "teacher"], {"RAY_AUTH_TOKEN": "a"}, "trainer or featurizer"),
        (["head", "a:1"], {}, "RAY_AUTH_TOKEN"),
    ],
)
def test_the_cluster_script_says_what_it_needs(arguments, variables, sentence, infra):
    done = subprocess.run(
        [infra / SCRIPT, *arguments], env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert sentence in done.stderr


@pytest.mark.ray
def test_the_cluster_script_runs_a_job_on_labelled_nodes(infra, tmp_path):
    """Head, worker and job as Slurm and SkyPilot start them, on one machine."""
    (tmp_path / "labels.py").write_text(
        "import ray; ray.init(log_to_driver=False)\n"
        "of = lambda node: (node['Labels'].get('omnimat.io/role'), node['Resources'].get('CPU'))\n"
        "print([of(node) for node in ray.nodes()])"
    )
    port, dashboard, client = ray_head.free_ports(3)
    # Not a test's own folder: a path to a Unix socket may hold 107 bytes.
    temp_folder = f"/tmp/omnimat-{port}"
    address = f"{ray_head.HEAD_IP}:{port}"
    environment = ray_head.clean_environment(
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0",
        TEMP_FOLDER=temp_folder,
        DASHBOARD_PORT=str(dashboard),
    )
    head = ["head", address, f"--ray-client-server-port={client}"]
    worker = ["worker", address, "featurizer", "--node-ip-address=127.0.0.3"]
    worker += ["--num-cpus=1", "--object-store-memory=100000000"]
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, temp_folder, ignore_errors=True)
        for command in (head, worker):
            process = ray_head.start(
                [str(infra / SCRIPT), *command], environment, tmp_path / "ray.log", tmp_path
            )
            cleanup.callback(ray_head.RayNode(process).stop)
        done = subprocess.run(
            [infra / SCRIPT, "run", "1", "python", tmp_path / "labels.py"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, (tmp_path / "ray.log").read_text() + done.stdout + done.stderr
    assert "('featurizer', 1.0)" in done.stdout
    assert "(None, None)" in done.stdout, "the head runs no work and has no role"
