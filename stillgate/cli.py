"""The `stillgate` command: standard output is data, standard error is talk, exit codes are in exits.py."""

from typing import Any

import typer
from typer.core import TyperGroup

from stillgate import (
    alarming,
    auditing,
    backup,
    checks,
    distilling,
    erasing,
    labelling,
    operating,
    previewing,
    reloading,
    reporting,
    scaffold,
    students,
    up,
    watching,
)
from stillgate.admin_client import AdminRefusal
from stillgate.options import fail


class Commands(TyperGroup):
    """Turns a refusal of the admin API into its sentence and its exit code, for every command at once."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AdminRefusal as refusal:
            fail(str(refusal), refusal.exit_code)


app = typer.Typer(
    cls=Commands,
    help="Shadow-deployment inference gateway with a drift monitor and a distillation trainer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
alarm = typer.Typer(no_args_is_help=True, help="Drift alarms.")
trigger = typer.Typer(no_args_is_help=True, help="When an alarm is raised.")
student = typer.Typer(no_args_is_help=True, help="Registered students, from the deployment's files.")
key = typer.Typer(no_args_is_help=True, help="Keys of the admin API.")
distill = typer.Typer(no_args_is_help=True, help="Distillation jobs.")
labels = typer.Typer(no_args_is_help=True, help="True labels.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")

for command in (
    scaffold.init,
    checks.check,
    up.up,
    reloading.reload,
    watching.status,
    previewing.preview,
    reporting.report,
    operating.promote,
    operating.approve,
    operating.reject,
    operating.abort,
    operating.undo,
    erasing.erase,
    backup.backup,
):
    app.command()(command)
alarm.command("show")(alarming.alarm_show)
alarm.command("words")(alarming.alarm_words)
alarm.command("replay")(alarming.alarm_replay)
trigger.command("explain")(alarming.trigger_explain)
distill.command("open")(distilling.open_)
distill.command("plan")(distilling.plan)
distill.command("run")(distilling.run)
distill.command("resume")(distilling.resume)
distill.command("show")(distilling.show)
distill.command("diff")(distilling.diff)
student.command("list")(students.students_list)
student.command("show")(students.students_show)
student.command("diff")(students.students_diff)
student.command("verify")(students.students_verify)
student.command("export")(students.students_export)
key.command("create")(operating.key_create)
key.command("revoke")(operating.key_revoke)
labels.command("import")(labelling.labels_import)
audit.command("verify")(auditing.audit_verify)
for name, group in (
    ("alarm", alarm),
    ("trigger", trigger),
    ("distill", distill),
    ("students", student),
    ("key", key),
    ("labels", labels),
    ("audit", audit),
):
    app.add_typer(group, name=name)


def main() -> None:
    """The entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
