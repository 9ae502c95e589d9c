"""REST for scenarios: /api/scenarios."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from udprism.node import bodies as answers
from udprism.node.scenarios import Scenarios
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import add_routes


class ScenarioRoutes:
    """The routes of a bridge's scenarios."""

    def __init__(self, scenarios: Scenarios) -> None:
        self._scenarios = scenarios

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/scenarios", self.list_runs, answers.ScenarioList),
            ("POST", "/scenarios", self.start_run, answers.RunBody),
            ("GET", "/scenarios/{run_id}", self.get_run, answers.RunBody),
            ("POST", "/scenarios/{run_id}/stop", self.stop_run, answers.RunBody),
            ("DELETE", "/scenarios/{run_id}", self.remove_run, None),
            ("GET", "/scenarios/{run_id}/report", self.get_report, None),
        )
        add_routes(router, routes, created=["/scenarios"])

    async def list_runs(self) -> Response:
        """The runs, newest first, and the shipped scenarios."""
        runs = self._scenarios.every()
        return answer({"scenarios": runs, "total": len(runs), "shipped": self._scenarios.shipped()})

    async def start_run(self, body: bodies.StartScenario) -> Response:
        """Start a run: add the scenario's clients, set their links on schedule, and judge the result."""
        return answer(await self._scenarios.start(body.text), 201)

    async def get_run(self, run_id: str) -> Response:
        """The progress of a run, or its result."""
        return answer(self._scenarios.get(run_id))

    async def stop_run(self, run_id: str) -> Response:
        """Stop a run early, without a verdict. Its clients stay."""
        return answer(await self._scenarios.stop(run_id))

    async def remove_run(self, run_id: str) -> Response:
        """Stop a run if it is running, remove its clients, and forget it."""
        await self._scenarios.remove(run_id)
        return Response(status_code=204)

    async def get_report(self, run_id: str) -> Response:
        """The run as one HTML file: settings, seed, versions, verdicts, figures and pictures."""
        return Response(
            await self._scenarios.report(run_id),
            media_type="text/html; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="udprism-{run_id}.html"'},
        )
