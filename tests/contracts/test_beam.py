"""Apache Beam's private names on which `data_prep` relies: an upgrade without one says so here."""

import inspect
import pathlib

import apache_beam as beam
from apache_beam import pipeline
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import worker_handlers


def test_worker_handlers_are_made_and_closed_as_ours_is():
    handler = worker_handlers.GrpcWorkerHandler
    assert list(inspect.signature(handler.__init__).parameters) == [
        *("self", "state", "provision_info", "grpc_server"),
    ]
    for name in ("start_worker", "stop_worker", "close"):
        assert callable(getattr(handler, name))
    assert "control_conn" in inspect.getsource(handler.__init__)
    assert callable(worker_handlers.WorkerHandler.register_environment)


def test_waiting_requests_can_be_answered():
    connection = inspect.getsource(worker_handlers.ControlConnection)
    assert "self._futures_by_id.pop(" in connection


def test_exceptions_can_be_kept_as_they_are():
    source = pathlib.Path(beam.__file__).parent / "runners" / "common.py"  # beside the compiled one
    assert "if getattr(exn, '_tagged_with_step', False)" in source.read_text()


def test_options_are_parsed_by_a_parser_that_can_be_extended():
    parser = pipeline_options._BeamArgumentParser(add_help=False)
    pipeline_options.DirectOptions._add_argparse_args(parser)
    known = parser.parse_args([])
    assert (known.direct_num_workers, known.direct_running_mode) == (1, "in_memory")


def test_pipelines_name_their_temporary_folder():
    with beam.Pipeline() as made:
        assert made.local_tempdir
    assert "self.local_tempdir = tempfile.mkdtemp" in inspect.getsource(pipeline)
