"""Which models this installation offers and by which upstreams: the catalogue behind every `model` field."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from billing.exchange import next_change
from billing.prices import Shape
from gateway.errors import NotFound, Unavailable
from gateway.settings import Settings
from gateway.videos.price_book import RouteBook, compile_book
from providers.contract import Operation
from providers.spec import ModelSpec, UpstreamSpec, account_of_server

BUILT_IN_ALIASES: Final = frozenset(
    {"sora-2", "sora-2-pro", "sora-2-2025-10-06", "sora-2-pro-2025-10-06", "sora-2-2025-12-08"}
)
"""OpenAI's closed models: unmodified clients go on with the default model until the operator maps these names."""

_LISTED: Final = 10
_NOTICE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Route:
    """One upstream that serves a model, in its own words and at its own price.

    One that is `withdrawn` ends what it has begun and gets nothing new.
    """

    upstream: UpstreamSpec
    spec: ModelSpec
    book: RouteBook = field(compare=False, repr=False)
    withdrawn: bool = False

    @property
    def priority(self) -> int:
        """Lower comes first."""
        return self.upstream.priority if self.spec.priority is None else self.spec.priority

    @property
    def weight(self) -> int | None:
        """Its share among routes of the same priority, None where that is left open."""
        return self.upstream.weight if self.spec.weight is None else self.spec.weight

    def shape(self, asked: Shape) -> Shape:
        """What the route makes of a request that leaves the sound open."""
        default = self.spec.default_audio
        return asked if asked.audio is not None or default is None else replace(asked, audio=default)

    @property
    def local(self) -> bool:
        """Whether a worker of ours serves it."""
        return self.upstream.dialect == "local"

    def retired(self, today: date) -> bool:
        """Whether the upstream has shut the model down, or its shutdown date has come."""
        shutdown = self.spec.shutdown_date
        return self.spec.status == "retired" or (
            shutdown is not None and date.fromisoformat(shutdown) <= today
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A public name and its routes in order of preference; never without a route."""

    id: str
    routes: tuple[Route, ...]

    @property
    def operations(self) -> frozenset[Operation]:
        """What some route can do."""
        return frozenset().union(*(route.spec.operations for route in self.routes))

    @property
    def local(self) -> bool:
        """Whether the preferred route is the bundled worker."""
        return self.routes[0].local

    @property
    def shutdown_date(self) -> str | None:
        """The last day of the last route (YYYY-MM-DD), None while one has no end."""
        dates = [route.spec.shutdown_date for route in self.routes]
        known = [day for day in dates if day is not None]
        return max(known) if len(known) == len(dates) else None

    @property
    def replacement(self) -> str | None:
        """What the preferred route says to use instead."""
        return self.routes[0].spec.replacement


def _today() -> date:
    return datetime.now(UTC).date()


class Catalogue:
    """Every model by its public name. Changes when the local worker comes or goes, or an operator changes upstreams."""

    def __init__(self, settings: Settings, *, today: Callable[[], date] = _today) -> None:
        self._aliases = dict(settings.aliases)
        self._default = settings.default_model
        self._today = today
        self._upstreams = {upstream.name: upstream for upstream in settings.upstreams}
        self._stored: dict[str, UpstreamSpec] = {}
        self._withdrawn: dict[str, UpstreamSpec] = {}
        self._older: Mapping[tuple[str, int], UpstreamSpec] = {}
        self._models: dict[str, Model] = {}
        self._routes: dict[str, tuple[Route, ...]] = {}
        self._rates = settings.billing.exchange_rates
        self._rates_change: date | None = None
        self.revision = 0
        self._rebuild()

    def add_upstream(self, upstream: UpstreamSpec) -> None:
        """Offer the upstream's models; an upstream of the same name is replaced."""
        self._upstreams[upstream.name] = upstream
        self._rebuild()

    def remove(self, name: str) -> None:
        """Take an upstream out; an unknown name is no error."""
        if self._upstreams.pop(name, None) is not None:
            self._rebuild()

    def replace_stored(
        self,
        offered: Iterable[UpstreamSpec],
        withdrawn: Iterable[UpstreamSpec],
        older: Mapping[tuple[str, int], UpstreamSpec],
    ) -> None:
        """Offer exactly these beside the configured ones, whose names win.

        `withdrawn` only end what they have begun. `older` are the same upstreams under earlier credentials, by name
        and version.
        """
        self._stored = {each.name: each for each in offered}
        self._withdrawn = {each.name: each for each in withdrawn}
        self._older = older
        self._rebuild()

    def upstream(self, name: str) -> UpstreamSpec | None:
        """Find an upstream by its name, withdrawn or not; of a fleet's server the server."""
        found = self._configured(account_of_server(name))
        address = name.partition("@")[2]
        return found.at(address) if found is not None and address else found

    def _configured(self, name: str) -> UpstreamSpec | None:
        return self._upstreams.get(name) or self._stored.get(name) or self._withdrawn.get(name)

    def upstreams(self) -> list[UpstreamSpec]:
        """List the upstreams that take videos, in order of preference."""
        stored = [each for each in self._stored.values() if each.name not in self._upstreams]
        return [*self._upstreams.values(), *stored]

    def is_configured(self, name: str) -> bool:
        """Whether the upstream comes from the configuration, or is the local worker."""
        return name in self._upstreams

    def credential_versions(self, name: str) -> list[int]:
        """List the stored credentials of an upstream that are still kept."""
        return sorted(version for each, version in self._older if each == name)

    def with_version(self, upstream: UpstreamSpec, version: int | None) -> UpstreamSpec:
        """Give the upstream under the credential of an attempt; under the present one where that is not kept."""
        if version is None or version == upstream.credential_version:
            return upstream
        older = self._older.get((upstream.account, version))
        return upstream if older is None else older.at(upstream.address)

    def models(self) -> list[Model]:
        """List every model that is not retired, in order of preference."""
        today = self._today()
        return [model for model in self._models.values() if _open_routes(model, today)]

    def resolve(self, model: str | None, param: str = "model") -> Model:
        """Find a model by name or alias, None for the default, with its routes that are still open.

        NotFound (model_not_found) for an unknown or retired name, Unavailable while there is no model at all.
        """
        today = self._today()
        self._follow_rates(today)
        name = self._target(model)
        if name is None:
            raise Unavailable(
                "This server has no model yet: the local worker is starting, or none is configured."
            )
        found = self._models.get(name)
        if found is None:
            known = ", ".join(listed([each.id for each in self.models()])) or "none yet"
            raise NotFound(
                f"The model '{name}' does not exist here. Available models: {known}.",
                param=param,
                code="model_not_found",
            )
        routes = _open_routes(found, today)
        if not routes:
            raise NotFound(_farewell(found), param=param, code="model_not_found")
        return found if len(routes) == len(found.routes) else Model(found.id, routes)

    def warnings(self, model: Model) -> list[str]:
        """Tell that a model is shut down within thirty days, and what replaces it."""
        day = model.shutdown_date
        if day is None or date.fromisoformat(day) - self._today() > _NOTICE:
            return []
        instead = f" Use '{model.replacement}' instead." if model.replacement else ""
        return [f"The model '{model.id}' is shut down on {day}.{instead}"]

    def find(self, model: str) -> tuple[Route, ...]:
        """List the routes of an exact name, retired or withdrawn or not (running jobs go on); () for an unknown one."""
        self._follow_rates(self._today())
        return self._routes.get(model, ())

    def aliases_of(self, model: str) -> list[str]:
        """List the other names that lead to a model."""
        names = sorted({*self._aliases, *BUILT_IN_ALIASES} - {model})
        return [name for name in names if self._target(name) == model]

    def is_local(self, model: str) -> bool:
        """Whether the bundled worker is the model's first route."""
        found = self._models.get(model)
        return found is not None and found.local

    def _target(self, model: str | None) -> str | None:
        """Follow aliases; a name that the operator neither mapped nor serves may be one of the built-in ones."""
        seen: set[str] = set()
        name = model
        while name is not None and name in self._aliases and name not in seen:
            seen.add(name)
            name = self._aliases[name]
        if name is not None and (name in self._models or name not in BUILT_IN_ALIASES):
            return name
        return self._default_name()

    def _default_name(self) -> str | None:
        if self._default is not None:
            return self._aliases.get(self._default, self._default)
        models = self.models()
        local = next((model for model in models if model.local), None)
        return local.id if local is not None else (models[0].id if models else None)

    def _follow_rates(self, today: date) -> None:
        """Compile the price books anew once another exchange rate's day has come."""
        if self._rates_change is not None and self._rates_change <= today:
            self._rebuild()

    def _rebuild(self) -> None:
        routes: dict[str, list[Route]] = {}
        today = self._today()
        withdrawn = [each for each in self._withdrawn.values() if each.name not in self._upstreams]
        gone = {each.name for each in withdrawn}
        for upstream in [*self.upstreams(), *withdrawn]:
            for spec in upstream.models:
                book = compile_book(upstream, spec, self._rates, today)
                route = Route(upstream, spec, book, upstream.name in gone)
                routes.setdefault(spec.id, []).append(route)
        self._rates_change = next_change(self._rates, today)
        self._routes = {
            name: tuple(sorted(found, key=lambda route: route.priority)) for name, found in routes.items()
        }
        offered = {name: tuple(r for r in found if not r.withdrawn) for name, found in self._routes.items()}
        self._models = {name: Model(name, found) for name, found in offered.items() if found}
        self.revision += 1


def listed(names: list[str]) -> list[str]:
    """Shorten a list of names for a message."""
    return [*names[:_LISTED], f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else names


def _farewell(model: Model) -> str:
    day = f" on {model.shutdown_date}" if model.shutdown_date else ""
    instead = (
        f"use '{model.replacement}' instead" if model.replacement else "GET /v1/models lists its successors"
    )
    return f"The model '{model.id}' was shut down{day}; {instead}."


def _open_routes(model: Model, today: date) -> tuple[Route, ...]:
    return tuple(route for route in model.routes if not route.retired(today))
