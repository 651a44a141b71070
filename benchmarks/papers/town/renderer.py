"""Renders a drive: frames, and for the centre of each pixel the label, instance, depth and motion of the surface there.

Rays go through a grid of samples half a pixel apart. Every second sample of every second row is the centre of a pixel; the surface that its
ray meets first is the truth. The colour of a pixel is the mean of the nine samples around its centre, weighted 1 2 1 down and across.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .drive import Camera, Drive
from .meshes import affine_functions, area_vectors
from .painter import SIDE
from .roads import KERB, PAVEMENT
from .scanline import Scan
from .shadows import ShadowMap
from .snapshot import GROUND, NEAREST, SKY, Snapshot

Array = NDArray[np.floating]
Index = NDArray[np.int64]

FAR = 320.0
"""Triangles beyond this depth in metres are not drawn, and neither is the ground beyond twice this depth."""
_BAND = 1 << 17
"""Number of samples that are shaded at once; limits the memory."""
_FRAGMENTS = 1 << 21
"""Approximate number of samples that the triangles scanned at once cover; limits the memory."""


class Renderer:
    """Renders the frames of one drive."""

    def __init__(self, scene: Drive) -> None:
        self.scene = scene
        mesh = scene.mesh
        # u, v and the normal of each triangle, as affine functions of the position
        self.surface_functions = affine_functions(mesh.corners, np.concatenate([mesh.uv, mesh.normals], -1))
        self.moving = np.flatnonzero(mesh.part > 0)
        sides = area_vectors(mesh.corners)
        spread = np.linalg.norm(area_vectors(np.concatenate([mesh.uv, np.zeros((len(mesh), 3, 1))], -1)), axis=1)
        # texels of the full-size tile per metre of each triangle
        self.texels = (np.sqrt(spread / np.maximum(np.linalg.norm(sides, axis=1), 1e-12)) * SIDE).astype(np.float32)
        self.centres = mesh.corners.mean(1)
        self.radii = np.linalg.norm(mesh.corners - self.centres[:, None], axis=-1).max(1)
        self.tint = mesh.tint.astype(np.float32)
        self.sun_direction = scene.weather.sun_direction
        self.static_shadows: ShadowMap | None = None

    def prepare(self, low: Array, high: Array) -> None:
        """Make the shadow map of the static part, within the box of the world between the corners low [3] and high [3]."""
        if self.scene.weather.shadows:
            static = self.scene.mesh.select(self.scene.mesh.part == 0)
            self.static_shadows = ShadowMap(static, self.scene.atlas, self.sun_direction, low, high, 0.1, 5000)

    def render(self, time: int) -> Snapshot:
        """Frame `time` with its ground truth."""
        camera, motions = self.scene.camera(time), self.scene.motions(time)
        corners = self.scene.mesh.corners.copy()
        moves = motions[self.scene.mesh.part[self.moving]]
        corners[self.moving] = corners[self.moving] @ moves[:, :, :3].swapaxes(1, 2) + moves[:, None, :, 3]
        return _SampleGrid(self, camera, motions, corners, time).snapshot()


class _SampleGrid:
    """The samples of one frame, a grid of 2 W + 1 by 2 H + 1.

    candidates: indices of the triangles that may be visible. candidate: for each sample an index in `candidates`, or -1.
    z_buffer: for each sample 1 / depth as float32 in the upper 32 bits, and 1 + the candidate in the lower ones; 0 if there is none.
    """

    def __init__(self, renderer: Renderer, camera: Camera, motions: Array, corners: Array, time: int) -> None:
        self.renderer, self.scene, self.camera, self.motions = renderer, renderer.scene, camera, motions
        self.corners, self.time = corners, time
        self.columns, self.rows = 2 * camera.width + 1, 2 * camera.height + 1
        self.z_buffer = np.zeros(self.columns * self.rows, np.uint64)
        self.candidates = self._visible_candidates()
        self.planes = self._planes(self.candidates)
        self.surface_functions = self._surface_functions(self.candidates)
        self._raster()
        self.inverse_depth = (self.z_buffer >> np.uint64(32)).astype(np.uint32).view(np.float32)
        self.candidate = (self.z_buffer & np.uint64(0xFFFFFFFF)).astype(np.int64) - 1
        known = self.candidates[np.maximum(self.candidate, 0)] if len(self.candidates) else SKY
        self.triangles = np.where(self.candidate >= 0, known, SKY)
        self.shadows = self._moving_shadows()

    def _visible_candidates(self) -> Index:
        """Triangles within the field of view that face the camera or are cutouts."""
        renderer, camera, mesh = self.renderer, self.camera, self.scene.mesh
        centres = renderer.centres.copy()
        centres[renderer.moving] = self.corners[renderer.moving].mean(1)
        seen, radius = (centres - camera.eye) @ camera.rotation.T, renderer.radii
        slope_x, slope_y = ((side + 2) / 2 / camera.focal for side in (camera.width, camera.height))
        depth = seen[:, 2] + radius
        kept = (depth > NEAREST) & (seen[:, 2] - radius < FAR)
        kept &= np.abs(seen[:, 0]) < depth * slope_x + radius * (1 + slope_x)
        kept &= np.abs(seen[:, 1]) < depth * slope_y + radius * (1 + slope_y)
        chosen = np.flatnonzero(kept)
        relative = self.corners[chosen] - camera.eye
        facing = np.einsum("ni,ni->n", area_vectors(relative), relative[:, 0])
        size = radius[chosen]
        return chosen[(facing < -1e-7 * size**2) | (mesh.cutout[chosen] & (np.abs(facing) > 1e-7 * size**2))]

    def _planes(self, chosen: Index) -> Array:
        """Planes [N, 3] of triangles: 1 / depth at the sample in column i and row j is plane[0] * i + plane[1] * j + plane[2]."""
        relative = self.corners[chosen] - self.camera.eye
        normal = area_vectors(relative)
        slope = normal @ self.camera.rotation.T / np.einsum("ni,ni->n", normal, relative[:, 0])[:, None]
        step = 0.5 / self.camera.focal
        first = (-0.5 - self.camera.centre) / self.camera.focal
        return np.stack([slope[:, 0] * step, slope[:, 1] * step, slope[:, 2] + slope[:, :2] @ first], -1)

    def _surface_functions(self, chosen: Index) -> Array:
        """u, v and the normal's x, y, z as affine functions of the position relative to the eye: slopes and constant, [4, N, 5] float32."""
        part = self.scene.mesh.part[chosen]
        tables = self.renderer.surface_functions[chosen].copy()
        moving = np.flatnonzero(part > 0)
        rotation, shift = self.motions[part[moving], :, :3], self.motions[part[moving], :, 3]
        slopes = tables[moving, :, :3] @ rotation.swapaxes(1, 2)
        tables[moving, :, 3] -= np.einsum("nij,nj->ni", slopes, shift)
        tables[moving, :, :3] = slopes
        tables[moving, 2:] = rotation @ tables[moving, 2:]
        tables[:, :, 3] += tables[:, :, :3] @ self.camera.eye
        return np.ascontiguousarray(tables.transpose(2, 0, 1), np.float32)

    def _raster(self) -> None:
        """Fill the z-buffer with the nearest triangle at each sample."""
        seen = (self.corners[self.candidates] - self.camera.eye) @ self.camera.rotation.T
        pieces, owner = _clipped(seen, NEAREST)
        flat = 2 * (self.camera.focal * pieces[..., :2] / pieces[..., 2:] + self.camera.centre) + 1
        cutout = self.scene.mesh.cutout[self.candidates][owner]
        for kind in (False, True):
            chosen = np.flatnonzero(cutout == kind)
            for group in _groups(flat[chosen], self.columns, self.rows):
                self._depth_test(Scan(flat[chosen[group]], self.columns, self.rows), owner[chosen[group]], kind)

    def _depth_test(self, scan: Scan, owner: Index, cutout: bool) -> None:
        """Update the z-buffer where the triangles of a scan are nearer. owner: the candidate of each of these triangles."""
        indices, triangle = scan.indices(), np.repeat(owner[scan.run_triangles], scan.count)
        inverse_depth = np.maximum(scan.values(self.planes[owner]), 1e-9).astype(np.float32)
        if cutout:
            nearer = np.flatnonzero(inverse_depth > (self.z_buffer[indices] >> np.uint64(32)).astype(np.uint32).view(np.float32))
            indices, triangle, inverse_depth = indices[nearer], triangle[nearer], inverse_depth[nearer]
            x, y = (indices % self.columns).astype(np.float32), (indices // self.columns).astype(np.float32)
            uv = self._uv_planes(owner)
            number = np.repeat(scan.run_triangles, scan.count)[nearer]
            uv = np.stack([(uv[axis][number] * np.stack([x, y, np.ones_like(x)], -1)).sum(-1) / inverse_depth for axis in (0, 1)], -1)
            texels = self.renderer.texels[self.candidates[triangle]] * np.float32(0.5 / self.camera.focal) / inverse_depth
            opaque = self.scene.atlas.is_opaque(self.scene.mesh.tile[self.candidates[triangle]], uv, texels)
            indices, triangle, inverse_depth = indices[opaque], triangle[opaque], inverse_depth[opaque]
        entry = inverse_depth.view(np.uint32).astype(np.uint64) << np.uint64(32) | (triangle + 1).astype(np.uint64)
        np.maximum.at(self.z_buffer, indices, entry)

    def _uv_planes(self, candidate: Index) -> Array:
        """u / depth and v / depth of candidates [N] as affine functions [2, N, 3] of the sample: factors of column, row, constant."""
        step, first = 0.5 / self.camera.focal, (-0.5 - self.camera.centre) / self.camera.focal
        table = self.surface_functions[:3, candidate, :2].astype(np.float64).transpose(2, 1, 0) @ self.camera.rotation.T
        constant = self.surface_functions[3, candidate, :2].T.astype(np.float64)
        planes = np.stack([table[..., 0] * step, table[..., 1] * step, table[..., 2] + table[..., :2] @ first], -1)
        return np.asarray(planes + constant[..., None] * self.planes[candidate], np.float32)

    def _rays(self, x: Index, y: Index) -> Array:
        """Directions [N, 3] of the rays through the samples in columns x and rows y."""
        return self.camera.rays(*(np.float32(0.5) * (axis - 1).astype(np.float32) for axis in (x, y)))

    def _values(self, candidate: Index, points: Array) -> Array:
        """u, v and normals (lengths as in `Mesh`), [N, 5], of candidates [N] at points [N, 3] relative to the eye."""
        total = self.surface_functions[3].take(candidate, 0)
        for axis in range(3):
            total += self.surface_functions[axis].take(candidate, 0) * points[:, axis : axis + 1]
        return total

    def _moving_shadows(self) -> ShadowMap | None:
        """The shadow map of moving parts near the camera."""
        renderer = self.renderer
        if not self.scene.weather.shadows or not len(renderer.moving):
            return None
        ahead = self.camera.rotation[2]
        middle = self.camera.eye + 28 * ahead / np.linalg.norm(ahead[[0, 2]])
        close = renderer.moving[np.linalg.norm((self.corners[renderer.moving, 0] - middle)[:, [0, 2]], axis=1) < 36]
        if not len(close):
            return None
        mesh = replace(self.scene.mesh.select(close), corners=self.corners[close])
        low, high = mesh.corners.min((0, 1)), mesh.corners.max((0, 1))
        return ShadowMap(mesh, self.scene.atlas, renderer.sun_direction, low - 0.2, high + 0.2, 0.06, 1200)

    def snapshot(self) -> Snapshot:
        """The frame, and the truth at the centres of its pixels."""
        width, height = self.camera.width, self.camera.height
        linear = np.empty((self.rows * self.columns, 3), np.float32)
        label = np.zeros(len(linear), np.uint8)
        inverse_depth = self.inverse_depth.astype(np.float64)
        for start in range(0, len(linear), _BAND):
            self._shade(np.arange(start, min(start + _BAND, len(linear))), linear, label, inverse_depth)
        centres = np.arange(self.rows * self.columns).reshape(self.rows, self.columns)[1::2, 1::2]
        triangle = self.triangles[centres]
        mesh, solid = self.scene.mesh, triangle >= 0
        known = np.maximum(triangle, 0)
        exact = inverse_depth[centres]
        i, j = 2 * np.arange(width) + 1, (2 * np.arange(height) + 1)[:, None]
        plane = self.planes[np.maximum(self.candidate[centres], 0)] if len(self.planes) else np.zeros((height, width, 3))
        exact = np.where(solid, plane[..., 0] * i + plane[..., 1] * j + plane[..., 2], exact)
        return Snapshot(
            camera=self.camera,
            motions=self.motions,
            frame=self._expose(linear.reshape(self.rows, self.columns, 3)),
            label=label[centres],
            instance=np.where(solid, mesh.instance[known], 0).astype(np.uint8),
            triangle=triangle,
            part=np.where(solid, mesh.part[known], 0),
            inverse_depth=exact,
        )

    def _shade(self, samples: Index, linear: Array, label: NDArray[np.uint8], inverse_depth: Array) -> None:
        """Set the colours and labels of samples; those that meet no triangle become ground or sky."""
        rays = self._rays(samples % self.columns, samples // self.columns)
        length = np.linalg.norm(rays, axis=1)
        weather = self.scene.weather
        kerb_inverse_depth = -rays[:, 1] / float(self.camera.eye[1] - KERB)
        nearer = (self.inverse_depth[samples] < kerb_inverse_depth) & (kerb_inverse_depth > 1 / (2 * FAR))
        free = np.flatnonzero((rays[:, 1] < -1e-4) & nearer)
        if len(free):
            t, edge = self.scene.roads.intersect(self.camera.eye.astype(np.float32), rays[free])
            ground = 1 / t > self.inverse_depth[samples[free]]
            free, t, edge = free[ground], t[ground], edge[ground]
            inverse_depth[samples[free]] = 1 / t
            self.triangles[samples[free]] = GROUND
            colour, kind = self._ground(rays[free], length[free], t, edge)
            linear[samples[free]], label[samples[free]] = colour, np.array(self.scene.ground_labels, np.uint8)[kind]
        triangle = self.triangles[samples]
        sky = np.flatnonzero(triangle == SKY)
        linear[samples[sky]] = weather.sky(rays[sky] / length[sky, None])
        label[samples[sky]] = 0
        solid = np.flatnonzero(triangle >= 0)
        if len(solid):
            linear[samples[solid]] = self._surface(samples[solid], rays[solid], length[solid])
            label[samples[solid]] = self.scene.mesh.label[triangle[solid]]

    def _ground(self, rays: Array, length: Array, t: Array, edge: Array) -> tuple[Array, NDArray[np.integer]]:
        """Colours [N, 3] and kinds [N] of the ground at the points eye + t ray."""
        scene, camera = self.scene, self.camera
        eye = camera.eye.astype(np.float32)
        points = eye + rays * t[:, None]
        x, z = points[:, 0], points[:, 2]
        side = 0.5 / camera.focal * t
        long = np.minimum(side * length * t / eye[1], 30)
        right, _, ahead = np.abs(camera.rotation.astype(np.float32))
        ahead = ahead / np.hypot(ahead[0], ahead[2])
        footprint = (side * right[0] + long * ahead[0], side * right[2] + long * ahead[2])
        kerb = edge == 0
        albedo, kind = scene.roads.colour(scene.atlas, x, z, np.where(kerb, 0.05, edge).astype(np.float32), footprint, scene.grime)
        normal = np.zeros_like(points)
        normal[:, 1] = 1
        kind = np.where(kerb, PAVEMENT, kind)
        albedo[kerb] *= 0.7
        light = self._light(points, normal, 1 - self._ambient_occlusion(x, z))
        return scene.weather.add_haze(albedo * light, rays / length[:, None], t * length), kind

    def _ambient_occlusion(self, x: Array, z: Array) -> Array:
        """The share [N] of the sky's light that objects keep from the ground at x, z."""
        total = np.zeros(len(x), np.float32)
        for shadow in self.scene.blob_shadows(self.time):
            reach = max(shadow.half) + 0.8
            close = np.flatnonzero((np.abs(x - shadow.x) < reach) & (np.abs(z - shadow.z) < reach))
            if not len(close):
                continue
            cosine, sine = np.cos(shadow.yaw), np.sin(shadow.yaw)
            dx, dz = x[close] - shadow.x, z[close] - shadow.z
            across, along = np.abs(cosine * dx - sine * dz) - shadow.half[0], np.abs(sine * dx + cosine * dz) - shadow.half[1]
            away = np.hypot(np.maximum(across, 0), np.maximum(along, 0)) + np.minimum(np.maximum(across, along), 0)
            total[close] = np.maximum(total[close], shadow.strength * np.clip(0.55 - away / 0.7, 0, 1))
        return total

    def _light(self, points: Array, normals: Array, openness: Array) -> Array:
        """Light [N, 3] from the sun, the sky and the ground on surfaces with unit normals.

        openness [N]: share of the sky's light that reaches them.
        """
        weather = self.scene.weather
        sky = 0.5 + 0.5 * normals[:, 1]
        bounce = 0.2 * (weather.ambient + weather.sun * weather.sun_direction[1] * 0.7)
        total = (weather.ambient * sky[:, None] + bounce * (1 - sky)[:, None]) * openness[:, None]
        facing = np.clip(normals @ weather.sun_direction, 0, 1)
        if weather.shadows:
            facing *= self._lit(points, normals, facing)
        return np.asarray(total + weather.sun * facing[:, None], np.float32)

    def _lit(self, points: Array, normals: Array, facing: Array) -> Array:
        """1 where the sun reaches the points [N, 3], 0 in shadow. facing [N]: cosine of the angle to the sun."""
        lit = (facing > 0).astype(np.float32)
        bright = np.flatnonzero(facing > 0)
        raised = points[bright] + np.float32(0.06) * normals[bright] + np.float32(0.12) * self.scene.weather.sun_direction
        for shadows in (self.renderer.static_shadows, self.shadows):
            if shadows is not None:
                lit[bright] *= shadows.lit(raised)
        return lit

    def _surface(self, samples: Index, rays: Array, length: Array) -> Array:
        """Colours [N, 3] of samples that meet triangles."""
        scene, weather = self.scene, self.scene.weather
        triangle, candidate = self.triangles[samples], self.candidate[samples]
        depth = 1 / self.inverse_depth[samples]
        relative = rays * depth[:, None]
        values = self._values(candidate, relative)
        openness = np.linalg.norm(values[:, 2:], axis=1)
        normal = values[:, 2:] / np.maximum(openness, 1e-6)[:, None]
        view = rays / length[:, None]
        cosine = np.abs(np.einsum("ni,ni->n", normal, view))
        texels = self.renderer.texels[triangle] * depth * (0.5 / self.camera.focal) / np.sqrt(np.maximum(cosine, 0.08))
        texture = scene.atlas.look_up(scene.mesh.tile[triangle], values[:, :2], texels)
        albedo = texture[:, :3] * (1 + (self.renderer.tint[triangle] - 1) * texture[:, 3:4])
        points = relative + self.camera.eye.astype(np.float32)
        cutout = scene.mesh.cutout[triangle]
        openness = np.minimum(openness, 1)
        openness *= 1 - 0.4 * np.exp(-np.maximum(points[:, 1] - KERB, 0) / 0.5)
        light = self._light(points, normal, openness)
        light[cutout] += 0.14 * weather.sun * openness[cutout, None]
        colour = albedo * light
        glossy = np.flatnonzero((texture[:, 4] > 0.08) & ~cutout)
        if len(glossy):
            self._add_reflections(colour, glossy, texture[glossy, 4], normal[glossy], view[glossy], openness[glossy])
        glow = texture[:, 5:6]
        warm = np.array([1.0, 0.72, 0.4], np.float32)
        colour += glow * (0.3 * albedo + weather.glow * (0.5 * albedo + 0.22 * warm))
        return weather.add_haze(colour, view, depth * length)

    def _add_reflections(self, colour: Array, chosen: Index, gloss: Array, normal: Array, view: Array, openness: Array) -> None:
        """Add the reflections of glossy surfaces to `colour` in place; they are stronger at grazing angles."""
        weather = self.scene.weather
        cosine = np.einsum("ni,ni->n", normal, view)
        mirror = view - 2 * cosine[:, None] * normal
        share = gloss * (0.07 + 0.4 * gloss * gloss * 0.5 + 0.7 * np.square(np.square(1 - np.abs(cosine))))
        share = np.minimum(share, 0.9)[:, None]
        seen = weather.reflection(mirror) * openness[:, None]
        shine = np.clip(mirror @ weather.sun_direction, 0, 1) ** 120 * gloss
        colour[chosen] += (seen - colour[chosen]) * share + 1.5 * weather.sun * shine[:, None] * weather.shadows

    def _expose(self, linear: Array) -> NDArray[np.uint8]:
        """The frame that a sensor makes of linear RGB: averaged to pixels, darker in the corners, exposed, tone-mapped and noisy."""
        weather, height, width = self.scene.weather, self.camera.height, self.camera.width
        kernel = np.array([0.25, 0.5, 0.25], np.float32)
        small = cv2.sepFilter2D(np.minimum(linear, 6), -1, kernel, kernel)[1::2, 1::2]
        if weather.blur > 0:
            small = cv2.GaussianBlur(small, (0, 0), weather.blur)
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        exposed = small * (weather.exposure * (1 - 0.11 * (x * x + y * y)))[..., None]
        toned = np.clip(exposed * (1 + exposed / 6) / (1 + exposed) * 1.12, 0, 1) ** (1 / 2.2)
        toned = toned * toned * (3 - 2 * toned) * 0.35 + toned * 0.65
        toned += self.scene.sensor_noise(self.time, toned.shape) * weather.noise_level
        return np.clip(toned * 255 + 0.5, 0, 255).astype(np.uint8)


def _clipped(seen: Array, depth: float) -> tuple[Array, Index]:
    """Clip triangles [N, 3, 3] (right, down, ahead) at `depth`. Returns the pieces beyond it, [M, 3, 3], and the triangle [M] of each."""
    beyond = seen[..., 2] > depth
    count = beyond.sum(1)
    whole = np.flatnonzero(count == 3)
    pieces, owners = [seen[whole]], [whole]
    for inside in (1, 2):
        cut = np.flatnonzero(count == inside)
        if not len(cut):
            continue
        apex = (beyond[cut] == (inside == 1)).argmax(1)
        a, b, c = (seen[cut, (apex + step) % 3] for step in range(3))
        ab, ac = (a + (other - a) * ((depth - a[:, 2]) / (other[:, 2] - a[:, 2]))[:, None] for other in (b, c))
        parts = [(a, ab, ac)] if inside == 1 else [(ab, b, c), (ab, c, ac)]
        pieces += [np.stack(part, 1) for part in parts]
        owners += [cut] * len(parts)
    return np.concatenate(pieces), np.concatenate(owners)


def _groups(flat: Array, columns: int, rows: int) -> list[Index]:
    """Divide triangles into groups whose bounding boxes together cover about `_FRAGMENTS` samples."""
    limit = np.array([columns, rows])
    low, high = np.clip(flat.min(1), 0, limit), np.clip(flat.max(1), 0, limit)
    area = ((high - low)[:, 0] + 1) * ((high - low)[:, 1] + 1) * 0.5
    number = (np.cumsum(area) // _FRAGMENTS).astype(np.int64)
    return [np.flatnonzero(number == value) for value in np.unique(number)]
