"""The weather of a drive: sun, sky, clouds and haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from textures import noise

from .atlas import sample

Array = NDArray[np.floating]


@dataclass(frozen=True)
class WeatherKind:
    """A kind of weather, from which `Weather` is drawn. Colours are linear RGB.

    weight: how often it is drawn relative to the others. elevation of the sun in degrees; clouds: share of the sky that they cover;
    visibility: metres at which haze makes up two thirds of a colour; these three are ranges (lowest, highest). brightness: factor of the
    exposure. glow: of lamps and windows.
    """

    name: str
    weight: float
    elevation: tuple[float, float]
    sun: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: tuple[float, float]
    visibility: tuple[float, float]
    brightness: float
    glow: float = 0.0


_WEATHER_KINDS = (
    WeatherKind("clear", 3, (40, 62), (3.0, 2.85, 2.6), (0.13, 0.28, 0.62), (0.58, 0.72, 0.88), (0.0, 0.35), (500, 1200), 1.0),
    WeatherKind("afternoon", 3, (24, 40), (2.8, 2.4, 1.9), (0.16, 0.3, 0.58), (0.68, 0.72, 0.76), (0.1, 0.6), (350, 800), 1.0),
    WeatherKind("evening", 2, (10, 20), (3.0, 1.75, 0.8), (0.2, 0.3, 0.52), (0.95, 0.66, 0.46), (0.1, 0.6), (250, 500), 0.9),
    WeatherKind("overcast", 3, (35, 60), (0.25, 0.25, 0.25), (0.55, 0.6, 0.66), (0.8, 0.83, 0.86), (1.0, 1.0), (150, 400), 0.88),
    WeatherKind("haze", 1.5, (18, 35), (1.5, 1.3, 1.05), (0.42, 0.52, 0.66), (0.86, 0.86, 0.85), (0.3, 0.8), (110, 220), 0.95),
    WeatherKind("dusk", 1.2, (20, 40), (0.02, 0.02, 0.03), (0.035, 0.06, 0.14), (0.3, 0.24, 0.26), (0.2, 0.8), (200, 400), 0.62, 1.0),
)


@dataclass(frozen=True)
class Weather:
    """The weather of one drive, and the settings of the camera's sensor.

    sun_direction [3]: unit vector to the sun. sun, zenith, horizon: linear RGB. cover: share of the sky that clouds cover. visibility:
    metres at which haze makes up two thirds of a colour. glow: of lamps and windows. clouds [S, S, 4]: noise. exposure: factor of the
    linear RGB. noise_level: standard deviation of the sensor noise, for values in [0, 1]. blur: standard deviation in pixels.
    """

    name: str
    sun_direction: Array
    sun: Array
    zenith: Array
    horizon: Array
    cover: float
    visibility: float
    exposure: float
    glow: float
    clouds: Array
    noise_level: float
    blur: float

    @property
    def ambient(self) -> Array:
        """Light of the whole sky on a surface that faces up, linear RGB."""
        return _ambient(self.sun, self.zenith, self.horizon)

    @property
    def shadows(self) -> bool:
        """Whether the sun is bright enough to cast shadows."""
        return float(self.sun.max()) > 0.5

    def sky(self, rays: Array) -> Array:
        """Linear RGB [N, 3] of the sky in the directions `rays` [N, 3] of length 1."""
        up = np.clip(rays[:, 1], 0, 1)
        low = (1 - up) * (1 - up)
        colour = self.horizon + (self.zenith - self.horizon) * (1 - low * np.sqrt(low) * np.sqrt(1 - up))[:, None]
        level = 1 / (up + 0.09)
        x, y = ((rays[:, axis] * level * 55) for axis in (0, 2))
        size = self.clouds.shape[0]
        cloud = sample(self.clouds, x % size, y % size)[:, 0]
        thick = np.clip((cloud - 1.4 + 2.6 * self.cover) * 0.7, 0, 1) * np.clip(up * 9, 0, 1)
        light = 0.35 * self.sun + 1.25 * self.horizon
        shade = (1 - 0.35 * np.clip(cloud * 0.5, 0, 1))[:, None]
        white = light * shade * 0.75
        colour += (white - colour) * (thick * (0.9 if self.cover < 1 else 0.45))[:, None]
        near = np.clip(rays @ self.sun_direction, 0, 1)
        veil = 1 - 0.8 * thick
        away = np.log(np.maximum(near, 1e-6))
        glow = 0.16 * np.exp(6 * away) + 0.5 * np.exp(60 * away) + (6 * np.exp(2500 * away) if self.shadows else 0)
        return np.asarray(colour + self.sun * (glow * veil)[:, None] * 0.5, np.float32)

    def reflection(self, rays: Array) -> Array:
        """Linear RGB [N, 3] that glass and varnish reflect from the directions `rays` [N, 3]: sky above, houses around, street below."""
        up = rays[:, 1:2]
        high = self.horizon + (self.zenith - self.horizon) * np.clip(1.4 * up, 0, 1)
        low = 0.14 * self.ambient + 0.04 * self.sun
        return np.asarray(low + (high - low) * np.clip(up * 5 - 0.6, 0, 1), np.float32)

    def add_haze(self, colour: Array, rays: Array, distance: Array) -> Array:
        """Linear RGB [N, 3] of surfaces of a colour [N, 3], seen in the directions `rays` [N, 3] through `distance` [N] metres of haze."""
        near = np.maximum(rays @ self.sun_direction, 0)
        near *= near
        air = self.horizon * 0.92 + self.sun * (0.12 * near * near)[:, None]
        return np.asarray(air + (colour - air) * np.exp(-distance / self.visibility)[:, None], np.float32)


def _ambient(sun: Array, zenith: Array, horizon: Array) -> Array:
    return np.asarray((0.72 * zenith + 0.28 * horizon) * 0.95 + 0.04 * sun, np.float32)


def draw_weather(rng: np.random.Generator) -> Weather:
    weights = np.array([kind.weight for kind in _WEATHER_KINDS])
    kind = _WEATHER_KINDS[int(rng.choice(len(_WEATHER_KINDS), p=weights / weights.sum()))]
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*kind.elevation))
    sun_direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)
    strength = float(rng.uniform(0.85, 1.15))
    sun, zenith, horizon = (
        np.array(colour, np.float32) * strength * rng.uniform(0.95, 1.05, 3).astype(np.float32)
        for colour in (kind.sun, kind.zenith, kind.horizon)
    )
    brightness = float((_ambient(sun, zenith, horizon) + 0.8 * sun * sun_direction[1]).mean())
    return Weather(
        name=kind.name,
        sun_direction=sun_direction,
        sun=sun,
        zenith=zenith,
        horizon=horizon,
        cover=float(rng.uniform(*kind.clouds)),
        visibility=float(rng.uniform(*kind.visibility)),
        exposure=kind.brightness * float(rng.uniform(0.9, 1.15)) * 1.35 / brightness**0.75,
        glow=kind.glow,
        clouds=np.repeat(noise(rng, 512, 3, 6)[..., None], 4, -1),
        noise_level=float(rng.uniform(0.003, 0.01)),
        blur=float(rng.choice([0.0, 0.0, 0.35, 0.5])),
    )
